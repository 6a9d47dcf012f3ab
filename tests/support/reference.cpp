// The order of exact and of bf16 mode, and the product in double. Block decoders and number conversions: decode.cpp.
#include "reference.hpp"

#include <tegula/gemm.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace tests::reference {

namespace {

// A row of A as int8.
struct int8_row {
  std::vector<int> quants;    // K, zeros up to a multiple of 256
  std::vector<float> scales;  // per 256
};

int8_row quantize(const float* x, tg::index_t K) {
  int8_row row;
  for (tg::index_t k0 = 0; k0 < K; k0 += 256) {
    const tg::index_t count = std::min<tg::index_t>(256, K - k0);
    float max = 0;
    bool finite = true;
    for (tg::index_t k = k0; k < k0 + count; ++k) {
      finite = finite && std::isfinite(x[k]);
      max = std::max(max, std::fabs(x[k]));
    }
    const bool zero = !finite || max < 0x1p-72f;
    row.scales.push_back(!finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0.f : max * (1.f / 127.f));
    const float inverse = zero ? 0.f : 127.f / max;
    for (tg::index_t k = k0; k < k0 + 256; ++k) row.quants.push_back(zero || k >= K ? 0 : static_cast<int>(std::nearbyint(x[k] * inverse)));
  }
  return row;
}

// Integer sums of one group: dot product and sum of activations.
struct group_sums {
  int dot = 0, sum = 0;
};
group_sums sums_of(const block& b, int group, const int* a) {
  group_sums s;
  for (int k = group * b.group_k; k < (group + 1) * b.group_k; ++k) {
    s.dot += b.quants[static_cast<std::size_t>(k)] * a[k];
    s.sum += a[k];
  }
  return s;
}

float k_quant_element(const block* blocks, tg::index_t count, const int8_row& a) {
  float c = 0;
  for (tg::index_t s = 0; s < count; ++s) {
    const block& b = blocks[s];
    int S = 0, I = 0;
    for (int g = 0; g < 256 / b.group_k; ++g) {
      const group_sums sums = sums_of(b, g, a.quants.data() + 256 * s);
      S += b.scales[static_cast<std::size_t>(g)] * sums.dot;
      I += b.minima[static_cast<std::size_t>(g)] * sums.sum;
    }
    float t = static_cast<float>(S) * b.d;
    if (b.has_min) t = std::fma(-static_cast<float>(I), b.m, t);
    c = std::fma(t, a.scales[static_cast<std::size_t>(s)], c);
  }
  return c;
}

float block_32_element(const block* blocks, tg::index_t count, const int8_row& a) {
  float c = 0;
  for (tg::index_t first = 0; first < count; first += 4) {
    float t = 0;
    for (tg::index_t i = first; i < std::min(count, first + 4); ++i) {
      const group_sums sums = sums_of(blocks[i], 0, a.quants.data() + 32 * i);
      t = std::fma(static_cast<float>(sums.dot), blocks[i].d, t);
      if (blocks[i].has_min) t = std::fma(static_cast<float>(sums.sum), blocks[i].m, t);
    }
    c = std::fma(t, a.scales[static_cast<std::size_t>(first / 8)], c);
  }
  return c;
}

float float_element(const float* a, const float* w, tg::index_t K) {
  float c = 0;
  for (tg::index_t k0 = 0; k0 < K; k0 += 32) {
    float e = 0, o = 0;
    for (tg::index_t k = k0; k < std::min(K, k0 + 32); k += 2) {
      e = std::fma(a[k], w[k], e);
      if (k + 1 < K) o = std::fma(a[k + 1], w[k + 1], o);
    }
    c += e + o;
  }
  return c;
}

float quiet(float x) { return std::isnan(x) ? std::bit_cast<float>(0x7fc00000u) : x; }

}  // namespace

weights::weights(const block_info& type, const unsigned char* bytes, tg::index_t N, tg::index_t K)
    : type_(type), N_(N), K_(K), floats_(static_cast<std::size_t>(N * K)) {
  const tg::index_t count = N * (K / type.block_k);
  for (tg::index_t i = 0; type.quantized && i < count; ++i) {
    const std::optional<block> b = decode(type.id, bytes + i * type.block_bytes);
    if (!b) break;
    blocks_.push_back(*b);
    for (int k = 0; k < b->block_k; ++k) floats_[static_cast<std::size_t>(i * b->block_k + k)] = static_cast<float>(b->weight(k));
  }
  // Float types, and quantized ones that decode() does not know: golden vectors hold dequantize() in place.
  if (blocks_.empty()) tg::dequantize(type.id, bytes, floats_.data(), N * K, {.isa = tg::isa::scalar});
}

std::vector<float> exact(const std::vector<float>& a, tg::index_t M, const weights& w) {
  std::vector<float> c;
  const tg::index_t K = w.cols(), blocks = K / w.type().block_k;
  for (tg::index_t m = 0; m < M; ++m) {
    const float* x = a.data() + m * K;
    const int8_row row = w.type().quantized ? quantize(x, K) : int8_row{};
    for (tg::index_t n = 0; n < w.rows(); ++n)
      c.push_back(quiet(!w.type().quantized       ? float_element(x, w.row(n), K)
                        : w.type().block_k == 256 ? k_quant_element(w.blocks(n), blocks, row)
                                                  : block_32_element(w.blocks(n), blocks, row)));
  }
  return c;
}

std::vector<float> bf16(const std::vector<float>& a, tg::index_t M, const weights& w) {
  const tg::index_t K = w.cols();
  const auto rounded = [](const float* x, tg::index_t count) {
    std::vector<float> y;
    for (tg::index_t i = 0; i < count; ++i) y.push_back(widen_bfloat(narrow_bfloat(x[i])));
    return y;
  };
  const std::vector<float> x = rounded(a.data(), M * K), weights = rounded(w.row(0), w.rows() * K);
  std::vector<float> c;
  for (tg::index_t m = 0; m < M; ++m)
    for (tg::index_t n = 0; n < w.rows(); ++n) c.push_back(quiet(float_element(x.data() + m * K, weights.data() + n * K, K)));
  return c;
}

// Tolerances. u = 2^-24 is float's unit roundoff; each bound below doubles it, which covers all second-order terms.
//
// exact, quantized: a_k is replaced by da * q_k. q rounds x * (127 / max) to an integer: off by 1/2, plus what the three float
//   roundings of 127 / max, its product and da do to at most 127: 127 * 4 u < 2^-14. So |a_k - da q_k| <= da (1/2 + 2^-14), and
//   the product is off by at most sum_k |w_k| da_k (1/2 + 2^-14). Then the sum in float: integer sums are exact, t takes at most
//   8 roundings of values below T = sum (|d s q| + |m min|) |da q| over the super-group, and each step of C rounds a value below
//   the sum of all T: (8 + super-groups) u sum T.
// exact, float: e and o take 16 roundings, e + o one, C one per 32 of K, all of values below sum |a w|: (18 + K / 32) u sum |a w|.
// bf16: a and w are off by 2^-8 of themselves at most (8 significant bits, to nearest), w by u more as it was rounded to float, then
//   the order of exact float: (2 * 2^-8 + 2^-16 + 2 u + (18 + K / 32) u) sum |a w|.
bounded product(const float* a, const weights& w, tg::index_t n, tg::compute mode) {
  const tg::index_t K = w.cols();
  const float* row = w.row(n);
  double value = 0, absolute = 0, steps = 0, terms = 0;
  for (tg::index_t k0 = 0; k0 < K; k0 += 256) {
    double max = 0;
    const tg::index_t end = std::min(K, k0 + 256);
    for (tg::index_t k = k0; k < end; ++k) max = std::max(max, std::fabs(static_cast<double>(a[k])));
    for (tg::index_t k = k0; k < end; ++k) {
      const double x = a[k], weight = row[k];
      value += x * weight;
      absolute += std::fabs(x * weight);
      steps += std::fabs(weight) * max / 127;
      if (!w.type().quantized || !w.has_order()) continue;
      const block& b = w.blocks(n)[k / w.type().block_k];
      const int i = static_cast<int>(k % b.block_k);
      terms += (std::fabs(b.scaled(i)) + std::fabs(b.minimum(i))) * (std::fabs(x) + max / 127);
    }
  }
  constexpr double twice_u = 0x1p-23;
  const double float_steps = 18 + static_cast<double>(K) / 32;
  if (mode == tg::compute::bf16) return {value, (0x1p-7 + 0x1p-16 + (2 + float_steps) * twice_u) * absolute};
  if (!w.type().quantized) return {value, float_steps * twice_u * absolute};
  const double super_groups = 1 + static_cast<double>(K) / (w.type().block_k == 256 ? 256 : 128);
  return {value, steps * (0.5 + 0x1p-14) + (8 + super_groups) * twice_u * std::max(terms, absolute)};
}

}  // namespace tests::reference
