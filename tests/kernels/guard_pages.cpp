// No kernel, packer or decoder touches a byte before or behind any buffer: the caller's end at guard pages, and so do the
// library's own. Weights may stand at any address.
#include "../support/catch.hpp"
#include "../support/guard.hpp"
#include "../support/runner.hpp"

using namespace tests;

namespace {

struct guarded_problem {
  tg::index_t M, N, K;
  std::vector<float> a;
  bytes blocks;

  guarded_problem(const block_info& type, tg::index_t M_, tg::index_t N_)
      : M(M_),
        N(N_),
        K(type.block_k == 256  ? 512
          : type.block_k == 32 ? 160
                               : 37),
        a(random_activations(M, K, 3)),
        blocks(random_blocks(type, N, K, 4)) {}
};

// Row m of a matrix whose rows are `stride` apart, in memory that ends with the last row's last element.
template <class T>
std::size_t strided_size(tg::index_t rows, tg::index_t cols, tg::index_t stride) {
  return static_cast<std::size_t>((rows - 1) * stride + cols) * sizeof(T);
}

template <class A, class C>
void check_product(const block_info& type, const guarded_problem& p, bool at_start, tg::isa isa, tg::compute mode) {
  const guard_allocations own_buffers_too;
  const guarded_copy<unsigned char> blocks(p.blocks, at_start);
  const tg::index_t lda = p.K + 3, ldc = p.N + 5;
  const guarded a(strided_size<A>(p.M, p.K, lda), at_start), c(strided_size<C>(p.M, p.N, ldc), at_start);
  for (tg::index_t m = 0; m < p.M; ++m)
    for (tg::index_t k = 0; k < p.K; ++k) a.as<A>()[m * lda + k] = A(p.a[static_cast<std::size_t>(m * p.K + k)]);
  const tg::any_packed_matrix w = pack(type, blocks.data(), p.N, p.K);
  std::memset(c.data(), 0x5a, c.size());
  multiply(tg::matrix_view<const A>(a.as<A>(), p.M, p.K, lda), w, tg::matrix_view<C>(c.as<C>(), p.M, p.N, ldc), on(isa, mode));

  // Between the rows nothing was written.
  bool gaps_kept = true;
  for (tg::index_t m = 0; m + 1 < p.M; ++m)
    for (std::size_t i = static_cast<std::size_t>(m * ldc + p.N) * sizeof(C); i < static_cast<std::size_t>((m + 1) * ldc) * sizeof(C); ++i)
      gaps_kept = gaps_kept && c.data()[i] == 0x5a;
  CHECK(gaps_kept);
}

}  // namespace

TEST_CASE("products stay inside every buffer", "[guard]") {
  for (const block_info& type : all_types())
    for (const tg::index_t M : {1, 5, 18})
      for (const tg::index_t N : {1, 17}) {
        const guarded_problem p(type, M, N);
        for (const tg::isa isa : isas_here())
          for (const tg::compute mode : modes_of(type)) {
            INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode) << ", M = " << M << ", N = " << N);
            check_product<float, float>(type, p, false, isa, mode);
            check_product<float, float>(type, p, true, isa, mode);
            if (M == 5) check_product<tg::f16, tg::bf16>(type, p, false, isa, mode);
            if (M == 5) check_product<tg::bf16, tg::f16>(type, p, true, isa, mode);
          }
      }
}

TEST_CASE("dequantize and unpack stay inside every buffer", "[guard]") {
  for (const block_info& type : all_types())
    for (const bool at_start : {false, true}) {
      const guarded_problem p(type, 1, 3);
      const guarded_copy<unsigned char> blocks(p.blocks, at_start);
      const guarded back(p.blocks.size(), at_start);
      {
        const guard_allocations own_buffers_too;
        tg::unpack(pack(type, blocks.data(), p.N, p.K), back.data());
      }
      INFO(type.name);
      CHECK(std::memcmp(back.data(), blocks.data(), blocks.size()) == 0);

      const guarded values(static_cast<std::size_t>(p.N * p.K) * 4, at_start);
      std::vector<float> expected(static_cast<std::size_t>(p.N * p.K));
      tg::dequantize(type.id, p.blocks.data(), expected.data(), p.N * p.K, {.isa = tg::isa::scalar});
      for (const tg::isa isa : isas_here()) {
        tg::dequantize(type.id, blocks.data(), values.as<float>(), p.N * p.K, {.isa = isa});
        CHECK(std::memcmp(values.data(), expected.data(), values.size()) == 0);
      }
    }
}

TEST_CASE("weights at odd and at 2-byte addresses", "[guard]") {
  for (const block_info& type : all_types()) {
    const guarded_problem p(type, 2, 17);
    bytes aligned_back(p.blocks.size());
    std::vector<float> expected(static_cast<std::size_t>(p.N * p.K)), values(expected.size());
    tg::dequantize(type.id, p.blocks.data(), expected.data(), p.N * p.K, {.isa = tg::isa::scalar});
    for (const std::size_t off : {1u, 2u, 7u}) {
      bytes shifted(p.blocks.size() + 8), back(p.blocks.size() + 8);
      std::memcpy(shifted.data() + off, p.blocks.data(), p.blocks.size());
      tg::unpack(pack(type, shifted.data() + off, p.N, p.K), back.data() + off);
      INFO(type.name << ", " << off << " bytes off");
      CHECK(std::memcmp(back.data() + off, p.blocks.data(), p.blocks.size()) == 0);
      for (const tg::isa isa : isas_here()) {
        tg::dequantize(type.id, shifted.data() + off, values.data(), p.N * p.K, {.isa = isa});
        CHECK(std::memcmp(values.data(), expected.data(), 4 * values.size()) == 0);
      }
    }
  }
}
