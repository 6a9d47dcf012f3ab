// Every type on every ISA that this machine has, on shapes astride everything: each mode bit for bit against the reference order
// and within a derived tolerance of the product in double, exact and requantized mode by digest between machines.
#include "../support/catch.hpp"
#include "../support/reference.hpp"
#include "../support/runner.hpp"
#include "digest.hpp"
#include "shapes.hpp"

#include <cmath>

using namespace tests;

namespace {

struct problem {
  shape size;
  std::vector<float> a;
  bytes blocks;
  tg::any_packed_matrix w;
  reference::weights decoded;

  problem(const block_info& type, shape s)
      : size(s),
        a(random_activations(s.M, s.K, static_cast<std::uint64_t>(s.M * 131 + s.N))),
        blocks(random_blocks(type, s.N, s.K, static_cast<std::uint64_t>(s.M * 7 + s.K))),
        w(pack(type, blocks.data(), s.N, s.K)),
        decoded(type, blocks.data(), s.N, s.K) {}
};

// Some 60 elements, the corners among them.
void check_tolerance(const problem& p, const std::vector<float>& c, tg::compute mode) {
  const auto [M, N, K] = p.size;
  const tg::index_t step = std::max<tg::index_t>(1, M * N / 61);
  for (tg::index_t i = 0; i < M * N; i = i < M * N - 1 ? std::min(i + step, M * N - 1) : M * N) {
    const tg::index_t m = i / N, n = i % N;
    const auto [value, tolerance] = reference::product(p.a.data() + m * K, p.decoded, n, mode);
    const double off = std::fabs(static_cast<double>(c[static_cast<std::size_t>(i)]) - value);
    if (!(off <= tolerance)) {
      INFO("C[" << m << ", " << n << "] is " << c[static_cast<std::size_t>(i)] << ", in double " << value << " +- " << tolerance);
      CHECK(off <= tolerance);
      return;
    }
  }
}

std::string kernel_text(const block_info& type, tg::isa isa, tg::compute mode) {
  return std::string(type.name) + " " + tg::name_of(isa) + " " + tg::name_of(mode);
}

std::vector<float> reference_product(const problem& p, tg::compute mode) {
  if (mode == tg::compute::bf16) return reference::bf16(p.a, p.size.M, p.decoded, false);
  if (mode == tg::compute::requantized) return reference::requantized(p.a, p.size.M, p.decoded);
  return reference::exact(p.a, p.size.M, p.decoded);
}

// One mode of one problem on every ISA; returns the common result.
std::vector<float> check_mode(const block_info& type, const problem& p, tg::compute mode) {
  const auto [M, N, K] = p.size;
  std::vector<float> expected, by_pairs;
  if (p.decoded.has_order()) expected = reference_product(p, mode);
  if (mode == tg::compute::bf16) by_pairs = reference::bf16(p.a, M, p.decoded, true);
  for (const tg::isa isa : isas_here()) {
    INFO(kernel_text(type, isa, mode) << ", M = " << M << ", N = " << N << ", K = " << K);
    const std::vector<float> c = multiply(p.a, M, p.w, on(isa, mode));
    CHECK(tg::last_kernel() == kernel_text(type, kernels_of(isa, type, mode), mode));
    if (expected.empty()) expected = c;
    const std::string off = difference(c, mode == tg::compute::bf16 && sums_by_pairs(isa) ? by_pairs : expected, N);
    CHECK(off == "");
    if (isa == tg::isa::scalar || off != "") check_tolerance(p, c, mode);
  }
  return expected;
}

}  // namespace

TEST_CASE("exact mode: every type, every ISA, one result", "[grid][digest]") {
  for (const block_info& type : all_types()) {
    digest sum;
    for (const grid_shape& s : grid) {
      const problem p(type, s.of(type));
      sum.add(check_mode(type, p, tg::compute::exact));
    }
    check_recorded(type.name, sum);
  }
}

TEST_CASE("requantized mode: every type, every ISA, one result", "[grid][digest]") {
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    digest sum;
    for (const grid_shape& s : grid) sum.add(check_mode(type, problem(type, s.of(type)), tg::compute::requantized));
    check_recorded(std::string(type.name) + "_requantized", sum);
  }
}

TEST_CASE("bf16 mode: every type, every ISA", "[grid]") {
  for (const block_info& type : all_types())
    for (const grid_shape& s : grid) {
      if (s.M * s.N > 600) continue;  // the wider shapes add no case here, but minutes on an emulator
      check_mode(type, problem(type, s.of(type)), tg::compute::bf16);
    }
}

TEST_CASE("a row of C does not depend on the rows beside it", "[grid]") {
  for (const block_info& type : all_types()) {
    const problem p(type, grid_shape{37, 33, 512, 288, 131}.of(type));
    const auto [M, N, K] = p.size;
    for (const tg::compute mode : modes_of(type))
      for (const tg::isa isa : isas_here()) {
        const std::vector<float> all = multiply(p.a, M, p.w, on(isa, mode));
        std::vector<float> rows;
        for (tg::index_t m = 0; m < M; ++m) {
          const std::vector<float> row = multiply({p.a.begin() + m * K, p.a.begin() + (m + 1) * K}, 1, p.w, on(isa, mode));
          rows.insert(rows.end(), row.begin(), row.end());
        }
        INFO(kernel_text(type, isa, mode));
        CHECK(difference(rows, all, N) == "");
      }
  }
}

// The library's own choice of kernel, which may depend on M, must not show in the bits.
TEST_CASE("the default kernel gives the same bits", "[grid]") {
  for (const block_info& type : all_types())
    for (const tg::compute mode : modes_of(type))
      for (const tg::index_t M : {1, 4, 5, 16}) {
        if (mode == tg::compute::bf16) continue;
        const problem p(type, grid_shape{M, 17, 256, 160, 33}.of(type));
        const std::vector<float> c = multiply(p.a, M, p.w, {.options = {.compute = mode}});
        INFO(tg::last_kernel() << ", M = " << M);
        CHECK(difference(c, multiply(p.a, M, p.w, on(tg::isa::scalar, mode)), 17) == "");
      }
}
