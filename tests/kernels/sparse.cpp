// Products with sparse weights have the bits of the dense product with the same weights: every format, mode and ISA, whatever share of
// the weights is zero, and wherever the zeros are.
#include <tegula/thread_pool.hpp>

#include "../support/catch.hpp"
#include "../support/guard.hpp"
#include "../support/reference.hpp"
#include "../support/runner.hpp"
#include "../support/sparse_data.hpp"
#include "shapes.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

using namespace tests;

namespace {

struct problem {
  shape size;
  std::vector<float> a;
  tg::any_sparse_matrix sparse;
  tg::any_packed_matrix dense;

  problem(const block_info& type, shape s, const bytes& blocks)
      : size(s),
        a(random_activations(s.M, s.K, static_cast<std::uint64_t>(s.M * 131 + s.N))),
        sparse(compress(type, blocks, s.N, s.K)),
        dense(pack(type, decompressed(sparse).data(), s.N, s.K)) {}
  problem(const block_info& type, shape s, const zero_rule& is_zero)
      : problem(type, s, random_sparse_blocks(type, s.N, s.K, static_cast<std::uint64_t>(s.M * 7 + s.K), is_zero)) {}

  [[nodiscard]] std::vector<float> dense_product(const call& how) const { return multiply(a, size.M, dense, how); }
};

tg::index_t some_k(const block_info& type) { return type.block_k == 256 ? 512 : type.block_k == 32 ? 160 : 37; }

// "bf16 sparse avx512 exact".
std::string kernel_text(const block_info& type, tg::isa isa, tg::compute mode) {
  isa = kernels_of(isa, type, mode);
  if (isa == tg::isa::avx512 && !avx512_expands()) isa = tg::isa::avx2;
  return std::string(type.name) + " sparse " + tg::name_of(isa) + " " + tg::name_of(mode);
}

void check_mode(const block_info& type, const problem& p, tg::compute mode) {
  const auto [M, N, K] = p.size;
  std::vector<float> expected;
  for (const tg::isa isa : isas_here()) {
    if (expected.empty() || mode == tg::compute::bf16) expected = p.dense_product(on(isa, mode));  // in bf16 mode ISAs have their own bits
    const std::vector<float> c = multiply(p.a, M, p.sparse, on(isa, mode));
    INFO(kernel_text(type, isa, mode) << ", M = " << M << ", N = " << N << ", K = " << K << ", density " << p.sparse.density());
    CHECK(tg::last_kernel() == kernel_text(type, isa, mode));
    CHECK(difference(c, expected, N) == "");
  }
}

void check(const block_info& type, const problem& p) {
  for (const tg::compute mode : modes_of(type)) check_mode(type, p, mode);
}

// Every format in every mode on every ISA, with some problem of it.
template <class Function>
void for_each_kernel(const problem& p, const block_info& type, Function function) {
  for (const tg::compute mode : modes_of(type))
    for (const tg::isa isa : isas_here()) {
      INFO(kernel_text(type, isa, mode) << ", M = " << p.size.M << ", N = " << p.size.N);
      function(on(isa, mode));
    }
}

constexpr double shares[] = {0, 30, 50, 90, 99.98, 100};  // of zeros, percent

}  // namespace

TEST_CASE("sparse products have the bits of dense ones", "[sparse][grid]") {
  for (const block_info& type : sparse_types()) {
    std::size_t i = 0;
    for (const grid_shape& s : grid) {
      const problem p(type, s.of(type), random_zeros(shares[(i++ * 5 + 2) % std::size(shares)]));
      check_mode(type, p, tg::compute::exact);
      if (s.M * s.N > 600) continue;  // as in the dense grid: minutes on an emulator
      for (const tg::compute mode : modes_of(type))
        if (mode != tg::compute::exact) check_mode(type, p, mode);
    }
  }
}

TEST_CASE("every share of zeros", "[sparse][shares]") {
  for (const block_info& type : sparse_types())
    for (const double percent : shares)
      for (const tg::index_t M : {1, 3, 20}) check(type, {type, grid_shape{M, 33, 512, 288, 131}.of(type), random_zeros(percent)});
}

// Rows of A enough for tiles, and K in several pieces, the last of them not whole.
TEST_CASE("K in several pieces", "[sparse]") {
  for (const block_info& type : sparse_types())
    for (const tg::index_t M : {2, 9, 40}) check(type, {type, grid_shape{M, 17, 2304, 2208, 2090}.of(type), random_zeros(50)});
}

TEST_CASE("one weight that is not zero, in each corner", "[sparse]") {
  for (const block_info& type : sparse_types()) {
    const shape s = grid_shape{3, 33, 512, 160, 67}.of(type);
    for (const tg::index_t n : {tg::index_t{0}, s.N - 1})
      for (const tg::index_t k : {tg::index_t{0}, s.K - 1}) {
        const problem p(type, s, [=](tg::index_t row, tg::index_t column) { return row != n || column != k; });
        CHECK(nonzeros(p.sparse) == 1);
        check(type, p);
      }
  }
}

TEST_CASE("whole tiles empty and full beside mixed ones", "[sparse]") {
  for (const block_info& type : sparse_types())
    for (const tg::index_t M : {1, 18}) {
      const shape s = grid_shape{M, 64, 768, 352, 150}.of(type);
      zero_rule half = random_zeros(50);
      const problem p(type, s, [&](tg::index_t n, tg::index_t k) {
        const tg::index_t kind = (n / 16 + k / tile_k(type)) % 3;
        return kind == 0 || (kind == 1 && half(n, k));
      });
      check(type, p);
    }
}

// Up to half of a row is loaded by half a vector.
TEST_CASE("rows that keep half of themselves, and rows that keep one weight more", "[sparse]") {
  for (const block_info& type : sparse_types())
    for (const tg::index_t M : {1, 2, 3, 18}) {
      const tg::index_t period = 3 * tile_k(type);  // a tile of halves, one with a longer first row, one with a longer last row
      check(type, {type, grid_shape{M, 64, 1536, 352, 300}.of(type), [&](tg::index_t n, tg::index_t k) {
                     const bool longer = n % 16 == 8 && (k % period == tile_k(type) || k % period == period - 1);
                     return n % 16 >= 8 && !longer;
                   }});
    }
}

TEST_CASE("sparse weights that are NaN, Inf, -0 and denormal", "[sparse][nonfinite]") {
  for (const block_info& type : sparse_types()) {
    const shape s{7, 37, some_k(type)};
    bytes blocks = random_sparse_blocks(type, s.N, s.K, 3, random_zeros(60));
    const bool bfloat = type.id == tg::bf16::id;
    const std::uint16_t quiet = bfloat ? 0x7fc1 : 0x7e01, inf = bfloat ? 0x7f80 : 0x7c00;
    const std::uint16_t halves[] = {0x8000, 0x0001, 0x807f, 0x0000, quiet, inf, static_cast<std::uint16_t>(inf | 0x8000)};
    const tg::index_t row_blocks = s.K / type.block_k;
    for (tg::index_t i = 0; i < 7; ++i) {  // of quantized types: the scales
      set_half(blocks, type, (5 * i + 1) * row_blocks + i % row_blocks, std::max(type.d_at, 0), halves[i]);
      if (type.m_at >= 0) set_half(blocks, type, (5 * i + 2) * row_blocks + i % row_blocks, type.m_at, halves[i]);
    }
    const problem p(type, s, blocks);
    CHECK(decompressed(p.sparse) == blocks);
    check(type, p);
  }
}

// A weight that was dropped is a zero, and 0 * NaN = 0 * Inf = NaN.
TEST_CASE("NaN and Inf activations meet dropped weights", "[sparse][nonfinite]") {
  constexpr float inf = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();
  for (const block_info& type : sparse_types())
    for (const double percent : {50., 100.}) {
      problem p(type, {21, 19, some_k(type)}, random_zeros(percent));
      const auto at = [&](tg::index_t m, tg::index_t k) -> float& { return p.a[static_cast<std::size_t>(m * p.size.K + k)]; };
      at(0, 0) = not_a_number;
      at(3, p.size.K - 1) = inf;
      at(16, p.size.K / 2) = -inf;
      at(20, p.size.K - 2) = not_a_number;
      check(type, p);
      const std::vector<float> c = multiply(p.a, p.size.M, p.sparse);
      for (const tg::index_t m : {0, 3, 16, 20})
        for (tg::index_t n = 0; n < p.size.N; ++n) CHECK(!std::isfinite(c[static_cast<std::size_t>(m * p.size.N + n)]));
      if (percent == 100) CHECK(std::isnan(c[static_cast<std::size_t>(3 * p.size.N)]));
    }
}

TEST_CASE("sparse products with strides, narrow A and C, and an epilogue", "[sparse][views][elements][epilogue]") {
  for (const block_info& type : sparse_types()) {
    const problem p(type, {18, 33, some_k(type)}, random_zeros(50));
    const auto [M, N, K] = p.size;
    const tg::index_t lda = K + 13, ldc = N + 7;
    std::vector<tg::f16> a(static_cast<std::size_t>(M * lda), tg::f16(1e4f));
    for (tg::index_t m = 0; m < M; ++m)
      for (tg::index_t k = 0; k < K; ++k) a[static_cast<std::size_t>(m * lda + k)] = tg::f16(p.a[static_cast<std::size_t>(m * K + k)]);
    const tg::matrix_view<const tg::f16> view(a.data(), M, K, lda);
    const auto residual = [](float v, tg::index_t m, tg::index_t n) { return v + static_cast<float>(m - n); };
    for_each_kernel(p, type, [&](call how) {
      how.epilogue = epilogue_ref(residual);
      std::vector<tg::bf16> sparse(static_cast<std::size_t>(M * ldc), tg::bf16(-7.f)), dense = sparse;
      multiply(view, p.sparse, tg::matrix_view<tg::bf16>(sparse.data(), M, N, ldc), how);
      multiply(view, p.dense, tg::matrix_view<tg::bf16>(dense.data(), M, N, ldc), how);
      CHECK(std::memcmp(sparse.data(), dense.data(), sparse.size() * sizeof sparse[0]) == 0);
    });
  }
}

TEST_CASE("sparse products by any executor, with more threads than panels", "[sparse][threads]") {
  tg::thread_pool five(5);
  for (const block_info& type : sparse_types())
    for (const auto& [M, N] : {std::pair<tg::index_t, tg::index_t>{1, 18}, {37, 33}, {290, 18}, {2, 130}}) {
      const problem p(type, {M, N, some_k(type)}, random_zeros(50));
      const auto exact = tg::compute::exact;
      const std::vector<float> expected = p.dense_product({});
      for (const tg::isa isa : isas_here()) {
        INFO(kernel_text(type, isa, exact) << ", M = " << M << ", N = " << N);
        call how = on(isa, exact);
        how.executor = executor_ref(five);
        CHECK(difference(multiply(p.a, M, p.sparse, how), expected, N) == "");
        const tg::quantized_activations q = prepare(tg::matrix_view<const float>(p.a.data(), M, p.size.K), p.sparse, on(isa, exact));
        std::vector<float> c(expected.size(), -1.f);
        for (tg::index_t ith = 0; ith < 7; ++ith) {
          tg::share part(ith, 7);
          how.executor = executor_ref(part);
          multiply(q, p.sparse, tg::matrix_view<float>(c.data(), M, N), how);
        }
        CHECK(difference(c, expected, N) == "");
      }
    }
}

TEST_CASE("several threads multiply by one sparse matrix", "[sparse][threads]") {
  for (const block_info& type : sparse_types()) {
    const problem p(type, {5, 130, some_k(type)}, random_zeros(50));
    const std::vector<float> expected = p.dense_product({});
    std::vector<std::vector<float>> results(4);
    std::vector<std::thread> threads;
    for (std::vector<float>& c : results) threads.emplace_back([&] { c = multiply(p.a, p.size.M, p.sparse); });
    for (std::thread& thread : threads) thread.join();
    for (const std::vector<float>& c : results) CHECK(difference(c, expected, p.size.N) == "");
  }
}

TEST_CASE("empty sparse products", "[sparse][shapes]") {
  for (const block_info& type : sparse_types()) {
    const tg::index_t K = some_k(type);
    const problem p(type, {3, 17, K}, random_zeros(50));
    const tg::any_sparse_matrix no_rows = compress(type, {}, 0, K), no_columns = compress(type, {}, 17, 0);
    for_each_kernel(p, type, [&](call how) {
      float untouched = 5;
      multiply(tg::matrix_view<const float>(nullptr, 0, K), p.sparse, tg::matrix_view<float>(&untouched, 0, 17), how);
      multiply(tg::matrix_view<const float>(p.a.data(), 3, K), no_rows, tg::matrix_view<float>(&untouched, 3, 0), how);
      CHECK(untouched == 5.f);
      const auto constant = [](float v, tg::index_t m, tg::index_t n) { return v + static_cast<float>(100 * m + n + 1); };
      how.epilogue = epilogue_ref(constant);
      const std::vector<float> c = multiply({}, 3, no_columns, how);
      bool right = true;
      for (std::size_t i = 0; i < c.size(); ++i) right = right && c[i] == static_cast<float>(100 * (i / 17) + i % 17 + 1);
      CHECK(right);
    });
  }
}

// The matrix' own memory ends at a guard page, with every kind of last tile.
TEST_CASE("sparse products stay inside every buffer", "[sparse][guard]") {
  const guard_allocations own_buffers_too;
  for (const block_info& type : sparse_types())
    for (const tg::index_t K : {type.block_k, some_k(type), tile_k(type) % type.block_k == 0 ? tile_k(type) : type.block_k})
      for (const double percent : {0., 50., 99., 100.})
        for (const auto& [M, N] : {std::pair<tg::index_t, tg::index_t>{1, 1}, {5, 17}, {18, 32}}) {
          const problem p(type, {M, N, K}, random_zeros(percent));
          const guarded_copy<float> a(p.a);
          const guarded c(static_cast<std::size_t>(M * N) * sizeof(float));
          for_each_kernel(p, type, [&](const call& how) {
            multiply(tg::matrix_view<const float>(a.get(), M, K), p.sparse, tg::matrix_view<float>(c.as<float>(), M, N), how);
            const std::vector<float> result(c.as<float>(), c.as<float>() + M * N);
            CHECK(difference(result, multiply(p.a, M, p.dense, how), N) == "");
          });
        }
}
