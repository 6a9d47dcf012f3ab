// Values at the edges: all quants at an end of their range with sums as large as they get, zero blocks, denormal and huge scales,
// NaN and Inf, and a caller who flushes denormals.
#include "../support/catch.hpp"
#include "../support/reference.hpp"
#include "../support/runner.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#if TEGULA_X86
#include <xmmintrin.h>
#endif

using namespace tests;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();

tg::index_t some_k(const block_info& type) { return type.block_k == 256 ? 512 : type.block_k == 32 ? 288 : 67; }

// exact and requantized mode on every ISA against the reference; for a type without one, against scalar.
void check_bits(const block_info& type, const std::vector<float>& a, tg::index_t M, const bytes& blocks, tg::index_t N, tg::index_t K) {
  const tg::any_packed_matrix w = pack(type, blocks.data(), N, K);
  const reference::weights decoded(type, blocks.data(), N, K);
  for (const tg::compute mode : modes_of(type)) {
    if (mode == tg::compute::bf16) continue;
    std::vector<float> expected;
    if (decoded.has_order()) expected = (mode == tg::compute::exact ? reference::exact : reference::requantized)(a, M, decoded);
    for (const tg::isa isa : isas_here()) {
      const std::vector<float> c = multiply(a, M, w, on(isa, mode));
      if (expected.empty()) expected = c;
      INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode));
      CHECK(difference(c, expected, N) == "");
    }
  }
}

// Rows of A whose quants are all 127, all -127, alternating, and one 127 among zeros.
std::vector<float> extreme_activations(tg::index_t K) {
  std::vector<float> a;
  for (tg::index_t k = 0; k < K; ++k) a.push_back(1);
  for (tg::index_t k = 0; k < K; ++k) a.push_back(-1);
  for (tg::index_t k = 0; k < K; ++k) a.push_back(k % 2 == 0 ? 1.f : -1.f);
  for (tg::index_t k = 0; k < K; ++k) a.push_back(k % 3 == 0 ? -1.f : 1.f);
  for (tg::index_t k = 0; k < K; ++k) a.push_back(k % 256 == 77 ? 1.f : 0.f);
  return a;
}
constexpr tg::index_t extreme_rows = 5;

// N rows of blocks whose bytes are all `fill`, but for their f16 scales.
bytes filled_blocks(const block_info& type, tg::index_t N, tg::index_t K, unsigned char fill, std::uint16_t d, std::uint16_t m) {
  bytes blocks(type.bytes(N, K), fill);
  for (tg::index_t b = 0; b < static_cast<tg::index_t>(blocks.size()) / type.block_bytes; ++b) {
    set_half(blocks, type, b, type.d_at, d);
    if (type.m_at >= 0) set_half(blocks, type, b, type.m_at, m);
  }
  return blocks;
}

}  // namespace

TEST_CASE("largest quants times largest activations", "[extremes]") {
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    const tg::index_t K = some_k(type);
    for (const int fill : {0x00, 0x0f, 0x7f, 0x80, 0x81, 0xf0, 0xff, 0x3f, 0xc0}) {
      INFO("bytes of " << fill);
      check_bits(type, extreme_activations(K), extreme_rows, filled_blocks(type, 17, K, static_cast<unsigned char>(fill), 0x3c01, 0xbc02),
                 17, K);
    }
  }
}

// Saturating intermediates would show in some mix of signs and sizes: every byte is 0x00, 0x7f, 0x80 or 0xff at random.
TEST_CASE("random mixes of extreme bytes", "[extremes]") {
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    const tg::index_t K = some_k(type), N = 33;
    splitmix next(3);
    bytes blocks = filled_blocks(type, N, K, 0, 0x3c00, 0x3c00);
    const bytes scales = blocks;
    constexpr unsigned char extreme[] = {0x00, 0x7f, 0x80, 0xff};
    for (auto& byte : blocks) byte = byte == 0 ? extreme[next.below(4)] : byte;
    for (tg::index_t b = 0; b < static_cast<tg::index_t>(blocks.size()) / type.block_bytes; ++b) {
      set_half(blocks, type, b, type.d_at, 0x2c01);
      if (type.m_at >= 0) set_half(blocks, type, b, type.m_at, 0x2c02);
    }
    std::vector<float> a = extreme_activations(K);
    for (tg::index_t i = 0; i < 12 * K; ++i) a.push_back(next.below(2) == 0 ? 1.f : -1.f);
    check_bits(type, a, extreme_rows + 12, blocks, N, K);
  }
}

TEST_CASE("zero blocks and zero activations", "[extremes]") {
  for (const block_info& type : all_types()) {
    const tg::index_t K = some_k(type), N = 18;
    check_bits(type, random_activations(5, K, 1), 5, bytes(type.bytes(N, K)), N, K);
    std::vector<float> a = random_activations(5, K, 1);
    for (tg::index_t k = 0; k < K; ++k) a[static_cast<std::size_t>(2 * K + k)] = 0;
    check_bits(type, a, 5, random_blocks(type, N, K, 1), N, K);
  }
}

// d and m: zeros, subnormals, the largest, infinities, NaN; in some columns, the others as usual.
TEST_CASE("extreme scales", "[extremes]") {
  constexpr std::uint16_t halves[] = {0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00};
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    const tg::index_t K = some_k(type), N = 37;
    bytes blocks = random_blocks(type, N, K, 5);
    const tg::index_t row_blocks = K / type.block_k;
    for (tg::index_t i = 0; i < 10; ++i) {
      set_half(blocks, type, (3 * i + 1) * row_blocks + i % row_blocks, type.d_at, halves[i]);
      if (type.m_at >= 0) set_half(blocks, type, (3 * i + 2) * row_blocks + i % row_blocks, type.m_at, halves[i]);
    }
    check_bits(type, random_activations(7, K, 2), 7, blocks, N, K);
  }
}

// What no f16 holds: denormal floats, beyond 2^16, a full significand.
TEST_CASE("extreme f32 scales", "[extremes]") {
  constexpr float scales[] = {0x1p-149f,      -0x1.fffffcp-127f, 0x1p-126f,       0x1.fffffep-40f,
                              0x1.fffffep15f, 0x1.234566p40f,    0x1.fffffep127f, -0x1p127f};
  for (const block_info& type : all_types()) {
    if (!type.wide_d) continue;
    const tg::index_t K = some_k(type), N = 37, row_blocks = K / type.block_k;
    bytes blocks = random_blocks(type, N, K, 5);
    for (tg::index_t i = 0; i < 8; ++i)
      std::memcpy(blocks.data() + ((4 * i + 1) * row_blocks + i % row_blocks) * type.block_bytes + type.d_at, &scales[i], 4);
    check_bits(type, random_activations(7, K, 2), 7, blocks, N, K);
  }
}

TEST_CASE("activations from denormal to huge", "[extremes]") {
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    const tg::index_t K = some_k(type), N = 17;
    std::vector<float> a;
    for (const float size : {0x1p-149f, 0x1p-126f, 0x1p-73f, 0x1p-72f, 0x1p-71f, 0x1p-40f, 0x1p60f, 0x1p127f})
      for (const float x : random_activations(1, K, 9)) a.push_back(x * size);
    check_bits(type, a, 8, random_blocks(type, N, K, 6), N, K);
  }
}

TEST_CASE("NaN and Inf activations stay in their row", "[nonfinite]") {
  for (const block_info& type : all_types()) {
    const tg::index_t K = some_k(type), N = 19, M = 21;
    const bytes blocks = random_blocks(type, N, K, 8);
    const tg::any_packed_matrix w = pack(type, blocks.data(), N, K);
    const std::vector<float> clean = random_activations(M, K, 4);
    std::vector<float> dirty = clean;
    const auto at = [&](tg::index_t m, tg::index_t k) -> float& { return dirty[static_cast<std::size_t>(m * K + k)]; };
    at(0, 0) = not_a_number;
    at(3, K - 1) = inf;
    at(16, K / 2) = -inf;
    at(20, K - 2) = not_a_number;
    for (const tg::compute mode : modes_of(type))
      for (const tg::isa isa : isas_here()) {
        std::vector<float> c = multiply(dirty, M, w, on(isa, mode)), expected = multiply(clean, M, w, on(isa, mode));
        bool rows_non_finite = true;
        for (const tg::index_t m : {0, 3, 16, 20})
          for (tg::index_t n = 0; n < N; ++n) {
            auto& value = c[static_cast<std::size_t>(m * N + n)];
            rows_non_finite = rows_non_finite && !std::isfinite(value);
            value = expected[static_cast<std::size_t>(m * N + n)];
          }
        INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode));
        CHECK(rows_non_finite);
        CHECK(difference(c, expected, N) == "");
      }
  }
}

// Where a NaN is the only number of its group it must not count as zero, and where it is one of many none may hide it.
TEST_CASE("no activation hides a NaN", "[nonfinite]") {
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    const tg::index_t K = 256, N = 3;
    const tg::any_packed_matrix w = pack(type, random_blocks(type, N, K, 8).data(), N, K);
    std::vector<float> a;
    for (const std::vector<float>& row : {std::vector<float>(K), random_activations(1, K, 4)})
      for (const std::uint32_t bits : {0x7fc00000u, 0xffc00001u, 0x7f800001u, 0xffbfffffu, 0x7f800000u})
        for (const std::size_t at : {0, 1, 15, 16, 40, 127, 128, 255}) {
          a.insert(a.end(), row.begin(), row.end());
          std::memcpy(a.data() + a.size() - K + at, &bits, sizeof bits);
        }
    for (const tg::compute mode : {tg::compute::exact, tg::compute::requantized})
      for (const tg::isa isa : isas_here()) {
        const std::vector<float> c = multiply(a, static_cast<tg::index_t>(a.size()) / K, w, on(isa, mode));
        INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode));
        CHECK(std::all_of(c.begin(), c.end(), [](float x) { return std::isnan(x); }));
      }
  }
}

TEST_CASE("NaN and Inf weights stay in their column", "[nonfinite]") {
  for (const block_info& type : all_types()) {
    const tg::index_t K = some_k(type), N = 35, M = 9, row_blocks = K / type.block_k;
    bytes blocks = random_blocks(type, N, K, 8);
    const std::vector<float> a = random_activations(M, K, 4);
    const tg::any_packed_matrix clean = pack(type, blocks.data(), N, K);
    for (const tg::index_t n : {0, 17, 34}) {
      const float bad = n == 17 ? inf : not_a_number;
      const tg::index_t b = n * row_blocks + (n == 34 ? row_blocks - 1 : 0);
      if (type.id.value == 0) std::memcpy(blocks.data() + 4 * b, &bad, 4);
      else set_half(blocks, type, b, type.quantized ? type.d_at : 0, type.id == tg::bf16::id ? tg::bf16(bad).bits : tg::f16(bad).bits);
    }
    const tg::any_packed_matrix w = pack(type, blocks.data(), N, K);
    for (const tg::compute mode : modes_of(type))
      for (const tg::isa isa : isas_here()) {
        std::vector<float> c = multiply(a, M, w, on(isa, mode)), expected = multiply(a, M, clean, on(isa, mode));
        bool columns_non_finite = true;
        for (tg::index_t m = 0; m < M; ++m)
          for (const tg::index_t n : {0, 17, 34}) {
            auto& value = c[static_cast<std::size_t>(m * N + n)];
            columns_non_finite = columns_non_finite && !std::isfinite(value);
            value = expected[static_cast<std::size_t>(m * N + n)];
          }
        INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode));
        CHECK(columns_non_finite);
        CHECK(difference(c, expected, N) == "");
      }
  }
}

#if TEGULA_X86
// Products of quantized weights in exact mode make no denormal, nor do those in requantized mode unless activations are below 2^-42, so
// FTZ and DAZ in the caller change nothing; and the library leaves MXCSR.
TEST_CASE("the caller's FTZ and DAZ change no bit", "[extremes]") {
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    const tg::index_t K = some_k(type), N = 17, M = 6;
    bytes blocks = random_blocks(type, N, K, 11);
    for (tg::index_t b = 0; b < N * (K / type.block_k); b += 2) set_half(blocks, type, b, type.d_at, static_cast<std::uint16_t>(1 + b));
    const tg::any_packed_matrix w = pack(type, blocks.data(), N, K);
    for (const tg::compute mode : {tg::compute::exact, tg::compute::requantized}) {
      const std::vector<float> sizes = mode == tg::compute::exact
                                           ? std::vector<float>{1.f, 0x1p-60f, 0x1p-71f, 0x1p-72f, 0x1p-80f, 0x1p-140f}
                                           : std::vector<float>{1.f, 0x1p-20f, 0x1p-40f, 0x1p-41f, 0x1p-80f, 0x1p-140f};
      std::vector<float> a;
      for (const float size : sizes)
        for (const float x : random_activations(1, K, 9)) a.push_back(x * size);
      for (const tg::isa isa : isas_here()) {
        const std::vector<float> usual = multiply(a, M, w, on(isa, mode));
        const unsigned before = _mm_getcsr();
        _mm_setcsr(before | 0x8040);
        const std::vector<float> flushed = multiply(a, M, w, on(isa, mode));
        const unsigned after = _mm_getcsr();
        _mm_setcsr(before);
        INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode));
        CHECK(difference(flushed, usual, N) == "");
        CHECK((after & ~0x3fu) == ((before | 0x8040) & ~0x3fu));
      }
    }
  }
}
#endif
