// See quantize.hpp. Quantizers round each weight to the nearest level; what they choose is the scale.
#include "quantize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace gguf_prune {
namespace {

template <class F>
constexpr tg::index_t block_k = 1;
template <tg::quantized_format F>
constexpr tg::index_t block_k<F> = F::block_k;

template <class T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

// weight / scale to the nearest integer of a range. A scale of zero has only the level zero.
int nearest(float weight, float scale, int lowest, int highest) {
  if (scale == 0) return 0;
  const float level = std::nearbyint(weight / scale);
  return static_cast<int>(std::clamp(level, static_cast<float>(lowest), static_cast<float>(highest)));
}

float largest(std::span<const float> weights) {
  return *std::max_element(weights.begin(), weights.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
}

constexpr int lowest_level = -8, highest_level = 7, zero_quant = 8;  // of 4-bit quants

// The scale whose levels come nearest to the weights, of the sign of `sign`. Tried are the scales that bring the largest weight to
// steps / 4 levels; each gives the weights their levels q, for which the scale of least squares is sum w q / sum q^2. It takes
// (sum w q)^2 / sum q^2 off the squared error.
float scale_of_levels(std::span<const float> weights, float sign) {
  const float top = std::abs(largest(weights));
  double best_gain = 0;
  float best = 0;
  for (int steps = 24; steps <= 36 && top > 0; ++steps) {
    const float scale = std::copysign(top / (0.25F * static_cast<float>(steps)), sign);
    double wq = 0, qq = 0;
    for (const float w : weights) {
      const double q = nearest(w, scale, lowest_level, highest_level);
      wq += static_cast<double>(w) * q;
      qq += q * q;
    }
    if (qq > 0 && wq * wq > best_gain * qq) {
      best_gain = wq * wq / qq;
      best = static_cast<float>(wq / qq);
    }
  }
  return best;
}

// ---- one block of each type -----------------------------------------------------------------------------------------

void encode(tg::f32, const float* w, std::byte* out) { put(out, *w); }
void encode(tg::f16, const float* w, std::byte* out) { put(out, tg::f16(*w)); }
void encode(tg::bf16, const float* w, std::byte* out) { put(out, tg::bf16(*w)); }

void encode(tg::q8_0, const float* w, std::byte* out) {
  const std::span<const float> weights(w, tg::q8_0::block_k);
  const tg::f16 d(std::abs(largest(weights)) / 127);
  put(out, d);
  for (const float weight : weights) *(out++ + 2) = static_cast<std::byte>(nearest(weight, static_cast<float>(d), -127, 127));
}

void encode(tg::q4_0, const float* w, std::byte* out) {
  const std::span<const float> weights(w, tg::q4_0::block_k);
  // There is one level more on the negative side: the largest weight gets it.
  const tg::f16 d(scale_of_levels(weights, -largest(weights)));
  const auto quant = [&](std::size_t k) { return zero_quant + nearest(weights[k], static_cast<float>(d), lowest_level, highest_level); };
  put(out, d);
  for (std::size_t k = 0; k < 16; ++k) out[2 + k] = static_cast<std::byte>(quant(k) | quant(k + 16) << 4);
}

void encode(tg::q8_256, const float* w, std::byte* out) { tg::quantize<tg::q8_256>(w, out, tg::q8_256::block_k); }

// Scale and min of a group are the same 6 bits, and dmin = 8 d, which f16 holds exactly: d s q - 8 d s is 0 for q = 8.
void encode(tg::q4_k, const float* w, std::byte* out) {
  constexpr std::size_t groups = 8, group_k = tg::q4_k::group_k;
  const auto weights = [&](std::size_t g) { return std::span(w + g * group_k, group_k); };
  std::array<float, groups> wanted;
  for (std::size_t g = 0; g < groups; ++g) wanted[g] = scale_of_levels(weights(g), 1);
  const tg::f16 d(*std::max_element(wanted.begin(), wanted.end()) / 63);
  put(out, d);
  put(out + 2, tg::f16(8 * static_cast<float>(d)));

  std::array<unsigned char, 12> scales{};
  std::array<unsigned char, 128> quants{};
  for (std::size_t g = 0; g < groups; ++g) {
    const int scale = nearest(wanted[g], static_cast<float>(d), 0, 63);
    if (g < 4) {
      scales[g] = scales[4 + g] = static_cast<unsigned char>(scale);
    } else {
      scales[4 + g] = static_cast<unsigned char>((scale & 15) * 0x11);
      for (const std::size_t high : {g - 4, g}) scales[high] = static_cast<unsigned char>(scales[high] | (scale >> 4) << 6);
    }
    for (std::size_t k = 0; k < group_k; ++k) {
      const int quant = zero_quant + nearest(weights(g)[k], static_cast<float>(d) * static_cast<float>(scale), lowest_level, highest_level);
      unsigned char& two = quants[g / 2 * group_k + k];
      two = static_cast<unsigned char>(two | quant << g % 2 * 4);
    }
  }
  put(out + tg::q4_k::scales_at, scales);
  put(out + 16, quants);
}

template <class F>
concept encodable = requires(const float* w, std::byte* out) { encode(F{}, w, out); };

// ---- single weights -------------------------------------------------------------------------------------------------

template <class F>
concept clearable = tg::float_format<F> ||(tg::quant_format<F>&& F::m_at < 0);

template <tg::float_format F>
void clear_weight(std::byte* row, std::size_t k) {
  std::memset(row + k * sizeof(typename F::element), 0, sizeof(typename F::element));
}

template <tg::quant_format F>
void clear_weight(std::byte* row, std::size_t k) {
  std::byte* const block = row + k / F::block_k * F::block_bytes;
  unsigned quant = F::offset;
  for (const tg::bit_plane& plane : F::planes) {
    const tg::bit_position at = plane.position(static_cast<int>(k % F::block_k));
    const unsigned ones = (1U << plane.bits) - 1, field = (quant & ones) ^ plane.flip;
    block[at.byte] = (block[at.byte] & ~static_cast<std::byte>(ones << at.shift)) | static_cast<std::byte>(field << at.shift);
    quant >>= plane.bits;
  }
}

}  // namespace

std::size_t block_weights(tg::type_id type) {
  return tg::visit(type, [](auto format) { return static_cast<std::size_t>(block_k<decltype(format)>); });
}

bool can_quantize(tg::type_id type) {
  return tg::supported(type) && tg::visit(type, [](auto format) { return encodable<decltype(format)>; });
}

void quantize(tg::type_id type, std::span<const float> row, std::byte* blocks) {
  tg::visit(type, [&](auto format) {
    using F = decltype(format);
    if constexpr (encodable<F>) {
      for (std::size_t k = 0; k < row.size(); k += block_k<F>, blocks += tg::source_row_bytes<F>(block_k<F>)) {
        encode(format, row.data() + k, blocks);
      }
    }
  });
}

bool can_clear(tg::type_id type) {
  return tg::supported(type) && tg::visit(type, [](auto format) { return clearable<decltype(format)>; });
}

void clear(tg::type_id type, std::span<const std::uint8_t> marked, std::byte* row) {
  tg::visit(type, [&](auto format) {
    if constexpr (clearable<decltype(format)>) {
      for (std::size_t k = 0; k < marked.size(); ++k) {
        if (marked[k]) clear_weight<decltype(format)>(row, k);
      }
    }
  });
}

}  // namespace gguf_prune
