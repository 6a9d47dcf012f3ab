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

// 256 weights of K of one column, or what is left of them.
struct int8_weights {
  std::array<int, 256> bytes{};
  float scale = 0;
};

// Scale and minimum of a block's group as floats, rounded once.
struct float_group {
  float scale, minimum;
};
float_group group_of(const block& b, int g) {
  const auto i = static_cast<std::size_t>(g);
  const float minimum = b.has_min ? b.m * static_cast<float>(b.minima[i]) : 0;
  return {b.d * static_cast<float>(b.scales[i]), b.block_k == 256 ? -minimum : minimum};
}

int8_weights requantize(const block* blocks, tg::index_t count) {
  if (blocks->group_k == 256) return {blocks->quants, blocks->d};  // bytes with one scale already
  float bound = 0x1p-24f;
  bool finite = true;
  for (const block* b = blocks; b < blocks + count; ++b)
    for (int g = 0; g < b->block_k / b->group_k; ++g)
      for (const int end : {b->least, b->most}) {
        const auto [scale, minimum] = group_of(*b, g);
        const float reach = std::fabs(std::fma(scale, static_cast<float>(end), minimum));
        finite = finite && std::isfinite(reach);
        bound = std::max(bound, reach);
      }
  if (!finite) return {{}, std::numeric_limits<float>::quiet_NaN()};
  int8_weights w{{}, bound * (1.f / 127.f)};
  std::size_t at = 0;
  for (const block* b = blocks; b < blocks + count; ++b)
    for (int k = 0; k < b->block_k; ++k) {
      const auto [scale, minimum] = group_of(*b, k / b->group_k);
      const float inverse = 127.f * 256.f / bound;
      const int factor = static_cast<int>(std::nearbyint(scale * inverse)), addend = static_cast<int>(std::nearbyint(minimum * inverse));
      w.bytes[at++] = (factor * b->quants[static_cast<std::size_t>(k)] + addend + 128) >> 8;
    }
  return w;
}

// The 256s of a column.
std::vector<int8_weights> requantize_column(const weights& w, tg::index_t n) {
  std::vector<int8_weights> column;
  const tg::index_t count = w.cols() / w.type().block_k, step = 256 / w.type().block_k;
  for (tg::index_t b = 0; b < count; b += step) column.push_back(requantize(w.blocks(n) + b, std::min(step, count - b)));
  return column;
}

float requantized_element(const std::vector<int8_weights>& column, const int8_row& a) {
  float c = 0;
  for (std::size_t s = 0; s < column.size(); ++s) {
    int S = 0;
    for (std::size_t k = 0; k < 256; ++k) S += column[s].bytes[k] * a.quants[256 * s + k];
    c = std::fma(static_cast<float>(S) * column[s].scale, a.scales[s], c);
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

// The order of VDPBF16PS, per 32 of K.
float pair_element(const float* a, const float* w, tg::index_t K) {
  float c = 0;
  for (tg::index_t k0 = 0; k0 < K; k0 += 32) {
    float s = 0;
    for (tg::index_t k = k0; k < std::min(K, k0 + 32); k += 2) {
      if (k + 1 < K) s = std::fma(a[k + 1], w[k + 1], s);
      s = std::fma(a[k], w[k], s);
    }
    c += s;
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

std::vector<float> bf16(const std::vector<float>& a, tg::index_t M, const weights& w, bool by_pairs) {
  const tg::index_t K = w.cols();
  const auto rounded = [](const float* x, tg::index_t count) {
    std::vector<float> y;
    for (tg::index_t i = 0; i < count; ++i) y.push_back(widen_bfloat(narrow_bfloat(x[i])));
    return y;
  };
  const std::vector<float> x = rounded(a.data(), M * K), weights = rounded(w.row(0), w.rows() * K);
  std::vector<float> c;
  for (tg::index_t m = 0; m < M; ++m)
    for (tg::index_t n = 0; n < w.rows(); ++n) {
      const float *row = x.data() + m * K, *column = weights.data() + n * K;
      c.push_back(quiet(by_pairs ? pair_element(row, column, K) : float_element(row, column, K)));
    }
  return c;
}

std::vector<float> requantized(const std::vector<float>& a, tg::index_t M, const weights& w) {
  std::vector<float> c(static_cast<std::size_t>(M * w.rows()));
  std::vector<int8_row> rows;
  for (tg::index_t m = 0; m < M; ++m) rows.push_back(quantize(a.data() + m * w.cols(), w.cols()));
  for (tg::index_t n = 0; n < w.rows(); ++n) {
    const std::vector<int8_weights> column = requantize_column(w, n);
    for (tg::index_t m = 0; m < M; ++m)
      c[static_cast<std::size_t>(m * w.rows() + n)] = quiet(requantized_element(column, rows[static_cast<std::size_t>(m)]));
  }
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
//   the order of exact float: (2 * 2^-8 + 2^-16 + 2 u + (18 + K / 32) u) sum |a w|. By pairs s takes 32 roundings in place of 18 by e, o
//   and their sum: that order is compared bit by bit only.
// requantized: a as in exact. A weight is scale * byte. Of bytes, with |quant| <= far: factor and addend are off by 1/2 of 2^-8 each,
//   the sum is rounded to an integer, and the float roundings of D, M, bound and their quotients move D * quant and M by 5 u of
//   themselves, which are 3 * 127 bytes together at most. So |w_k - scale byte_k| <= scale e, e = 1/2 + (far + 1) / 512 + 2^-13, and the
//   product is off by another sum_k (|a_k| + da) scale e. The sum in float: 2 roundings and one for each 256.
bounded product(const float* a, const weights& w, tg::index_t n, tg::compute mode) {
  const tg::index_t K = w.cols();
  const float* row = w.row(n);
  double value = 0, absolute = 0, steps = 0, terms = 0, byte_errors = 0;
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
    if (mode != tg::compute::requantized || !w.has_order()) continue;
    const block* first = w.blocks(n) + k0 / w.type().block_k;
    if (first->group_k == 256) continue;  // bytes already
    const double error = 0.5 + (std::max(-first->least, first->most) + 1) / 512. + 0x1p-13;
    const double scale = static_cast<double>(requantize(first, (end - k0) / w.type().block_k).scale);
    for (tg::index_t k = k0; k < end; ++k) byte_errors += (std::fabs(static_cast<double>(a[k])) + max / 127) * scale * error;
  }
  constexpr double twice_u = 0x1p-23;
  const double float_steps = 18 + static_cast<double>(K) / 32;
  if (mode == tg::compute::bf16) return {value, (0x1p-7 + 0x1p-16 + (2 + float_steps) * twice_u) * absolute};
  if (!w.type().quantized) return {value, float_steps * twice_u * absolute};
  if (mode == tg::compute::requantized) {
    if (!w.has_order()) return {value, std::numeric_limits<double>::infinity()};  // a type without a decoder: the ISAs must agree
    return {value, steps * (0.5 + 0x1p-14) + byte_errors + (3 + static_cast<double>(K) / 256) * twice_u * (terms + byte_errors)};
  }
  const double super_groups = 1 + static_cast<double>(K) / (w.type().block_k == 256 ? 256 : 128);
  return {value, steps * (0.5 + 0x1p-14) + (8 + super_groups) * twice_u * std::max(terms, absolute)};
}

}  // namespace tests::reference
