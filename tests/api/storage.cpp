// Dense or sparse: what sparse_pays() says by density, rows of A, ISA and cache, and that gemm() takes either form with the same bits.
#include <tegula/tegula.hpp>

#include <cstring>

#include "../support/catch.hpp"
#include "../support/runner.hpp"

using namespace tests;

namespace {

constexpr std::size_t beyond_caches = std::size_t{1} << 40;
constexpr tg::weight_shape shape{.N = 48, .K = 512};

// bf16 weights of which one of `every` is kept.
std::vector<tg::bf16> weights_of(int every) {
  std::vector<tg::bf16> weights(static_cast<std::size_t>(shape.N * shape.K));
  for (std::size_t i = 0; i < weights.size(); i += static_cast<std::size_t>(every)) weights[i] = tg::bf16(0.5f + static_cast<float>(i % 7));
  return weights;
}

// Like the caches of a CPU whose list, of AMD's leaf, has two: 32 KiB and 32 MiB.
tg::cpuid_registers two_caches(std::uint32_t leaf, std::uint32_t subleaf) {
  if (leaf == 0x80000000u) return {0x8000001du, 0, 0, 0};
  if (leaf != 0x8000001du || subleaf > 1) return {};
  return subleaf == 0 ? tg::cpuid_registers{0x21, 7u << 22 | 63, 63, 0} : tg::cpuid_registers{0x63, 15u << 22 | 63, 32767, 0};
}

}  // namespace

TEST_CASE("what fits the last-level cache stays dense", "[storage]") {
  CHECK(tg::detail::largest_cache({two_caches, nullptr, nullptr}) == std::size_t{32} << 20);
  CHECK(tg::detail::largest_cache({[](std::uint32_t, std::uint32_t) { return tg::cpuid_registers{}; }, nullptr, nullptr}) == 0);
  const std::size_t cache = tg::detail::largest_cache(tg::detail::native_probe);
  if (cache > (std::size_t{64} << 10)) CHECK_FALSE(tg::sparse_pays<tg::bf16>(shape, 0.01, {.isa = tg::isa::avx512}));
}

TEST_CASE("sparse pays at few rows of A and low density only", "[storage]") {
  const auto pays = [](auto format, tg::isa isa, double density, tg::index_t M) {
    return tg::sparse_pays<decltype(format)>(shape, density, {.M = M, .working_set = beyond_caches, .isa = isa});
  };
  CHECK(pays(tg::bf16{}, tg::isa::amx, 0.5, 1));
  CHECK(pays(tg::bf16{}, tg::isa::amx, 0.7, 2));
  CHECK(pays(tg::bf16{}, tg::isa::amx, 0.5, 4));
  CHECK_FALSE(pays(tg::bf16{}, tg::isa::amx, 0.7, 4));
  CHECK(pays(tg::f16{}, tg::isa::amx, 0, 1));
  CHECK(pays(tg::bf16{}, tg::isa::avx512, 0.5, 1) == avx512_expands());
  CHECK(pays(tg::q8_256{}, tg::isa::amx, 0.7, 16));
  CHECK(pays(tg::q8_0{}, tg::isa::amx, 0.5, 4));
  CHECK_FALSE(pays(tg::q8_0{}, tg::isa::amx, 0.5, 5));
  CHECK_FALSE(pays(tg::q4_k{}, tg::isa::amx, 0.1, 1));
  CHECK_FALSE(pays(tg::bf16{}, tg::isa::amx, 1, 1));
  CHECK_FALSE(pays(tg::bf16{}, tg::isa::amx, 0.1, 1 << 20));
  CHECK_FALSE(pays(tg::bf16{}, tg::isa::scalar, 0.1, 1));
  CHECK(pays(tg::bf16{}, tg::isa::avx2, 0.2, 1));
  CHECK_FALSE(pays(tg::bf16{}, tg::isa::avx2, 0.5, 1));
  CHECK_FALSE(pays(tg::bf16{}, tg::isa::avx2, 0.2, 2));
  CHECK_FALSE(pays(tg::q8_0{}, tg::isa::avx2, 0, 1));
  CHECK_FALSE(pays(tg::q8_256{}, tg::isa::avx2, 0.05, 1));
}

TEST_CASE("compress_or_pack holds the form that pays, with the same bits", "[storage]") {
  const tg::index_t M = 3;
  const std::vector<float> values = random_activations(M, shape.K, 5);
  const tg::matrix_view<const float> a(values.data(), M, shape.K);
  const auto product = [&](const auto& w) {
    std::vector<float> c(static_cast<std::size_t>(M * shape.N));
    tg::gemm(tg::quantized_activations(a, w), w, tg::matrix_view<float>(c.data(), M, shape.N));
    return c;
  };
  for (const int every : {1, 16}) {
    const auto weights = weights_of(every);
    CHECK(tg::density_of<tg::bf16>(weights.data(), shape) == 1. / every);
    const std::vector<float> dense = product(tg::pack<tg::bf16>(weights.data(), shape));
    for (const tg::weight_use use : {tg::weight_use{.working_set = beyond_caches}, tg::weight_use{.M = 1 << 20}}) {
      const auto w = tg::compress_or_pack<tg::bf16>(weights.data(), shape, use);
      CHECK(w.is_sparse() == tg::sparse_pays<tg::bf16>(shape, 1. / every, use));
      CHECK((w.rows() == shape.N && w.cols() == shape.K && w.type() == tg::bf16::id && w.bytes() > 0));
      const std::vector<float> c = product(w);
      CHECK(std::memcmp(c.data(), dense.data(), sizeof(float) * c.size()) == 0);
    }
  }
  CHECK(tg::density_of<tg::bf16>(nullptr, {.N = 0, .K = 512}) == 0);
  CHECK_THROWS_AS(tg::compress_or_pack<tg::q8_0>(nullptr, {.N = 16, .K = 32}), std::invalid_argument);
}

TEST_CASE("compress_or_pack by type number", "[storage]") {
  const tg::weight_use use{.working_set = beyond_caches};
  for (const block_info& type : all_types()) {
    const tg::index_t N = 24, K = 512;
    const bytes blocks = random_blocks(type, N, K, 3);
    const tg::any_stored_matrix w = tg::compress_or_pack(type.id, blocks.data(), {.N = N, .K = K}, use);
    INFO(type.name);
    CHECK((w.rows() == N && w.cols() == K && w.type() == type.id && w.bytes() > 0));
    const tg::any_packed_matrix dense = tg::pack(type.id, blocks.data(), {.N = N, .K = K});
    const std::vector<float> values = random_activations(1, K, 5);
    std::vector<float> c(24), expected(24, 1.f);
    const tg::matrix_view<const float> a(values.data(), 1, K);
    tg::gemm(a, w, tg::matrix_view<float>(c.data(), 1, N));
    tg::gemm(a, dense, tg::matrix_view<float>(expected.data(), 1, N));
    CHECK(std::memcmp(c.data(), expected.data(), sizeof(float) * c.size()) == 0);
  }
  const auto weights = weights_of(16);
  CHECK(tg::compress_or_pack(tg::bf16::id, weights.data(), shape, use).is_sparse() == tg::sparse_pays<tg::bf16>(shape, 1. / 16, use));
  CHECK_THROWS_AS(tg::compress_or_pack(static_cast<tg::type_id>(9999), nullptr, {}), std::invalid_argument);
}
