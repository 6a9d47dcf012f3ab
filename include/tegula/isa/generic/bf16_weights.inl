// Weights as bf16 VNNI pairs, [k / 2][column][k % 2], for bf16 mode: weight = fma(d * scale, q - offset, min), rounded once to
// f32 and once to bf16 (to nearest, ties to even).

// In the high halves; not of a NaN, whose significand it may carry out of.
TEGULA_INLINE vu32 round_high(vf32 x) { return vu32(x) + 0x7fffu + ((vu32(x) >> 16) & 1u); }
TEGULA_INLINE vu32 round_to_bf16(vf32 x) {  // in the low halves
  const vu32 bits = vu32(x), nan = vu32((bits & 0x7fffffffu) > 0x7f800000u);
  return (nan & ((bits >> 16) | 0x40u)) | (~nan & (round_high(x) >> 16));
}
// How two floats become a bf16 pair.
struct bf16_rounding {
  TEGULA_INLINE static vu32 pair(vf32 even, vf32 odd) { return round_to_bf16(even) | (round_to_bf16(odd) << 16); }
};
struct canonical_rounding {  // of numbers, and of NaNs without low bits, which round_high could carry from
  TEGULA_INLINE static vu32 pair(vf32 even, vf32 odd) { return (round_high(even) >> 16) | (round_high(odd) & 0xffff0000u); }
};
template <block_format F>
using rounding_of = std::conditional_t<float_format<F>, bf16_rounding, canonical_rounding>;  // the NaNs of scales are canonical

// A tile row of quants, four k of each column, times `scale` plus `minimum`: two rows of pairs.
template <int Offset, class Rounding>
TEGULA_INLINE void dequantize_row(vu32 quants, vf32 scale, vf32 minimum, std::byte* pairs) {
  const auto weight = [&](int j) TEGULA_LAMBDA_INLINE { return fma(byte_to_float(quants, j, Offset), scale, minimum); };
  store(pairs, Rounding::pair(weight(0), weight(1)));
  store(pairs + t::row_bytes, Rounding::pair(weight(2), weight(3)));
}

// Products of bytes with a number, whose NaN becomes canonical.
template <bool Signed>
class rounded_multiples {
 public:
  TEGULA_INLINE explicit rounded_multiples(vf32 x) : x_(canonical_nan(x)) {}

  // Of byte j of every lane.
  [[nodiscard]] TEGULA_INLINE vf32 of(vu32 words, int j) const { return to_float(byte_of<Signed>(words, j)) * x_; }

 private:
  vf32 x_;
};

// Calls function(g, scale, minimum) for the groups of block b of a super-group, for the columns of one vector. Multiples: how integer
// scales are multiplied. NaNs of float scales are canonical.
template <quant_format F, template <bool> class Multiples = rounded_multiples, class Function>
TEGULA_INLINE void for_each_group(const super_group<F>& super, std::size_t b, int vector, Function function) {
  constexpr bool has_min = t::traits<F>::has_min;
  const vf32 d = widen_halves(super.d(b) + vector * lanes * 2), m = has_min ? widen_halves(super.m(b) + vector * lanes * 2) : vf32{};
  if constexpr (float_scales<F>) {
    function(0, canonical_nan(d), canonical_nan(m));
  } else {
    const scale_words<F> words(super, vector);
    const Multiples<F::signed_scales> scales(d);
    const Multiples<false> minima(-m);
    TEGULA_UNROLL
    for (int quad = 0; quad < t::traits<F>::groups / 4; ++quad) {
      vu32 scale = words.scales(quad), minimum{};
      hold(scale);
      if constexpr (has_min) {
        minimum = words.minima(quad);
        hold(minimum);
      }
      TEGULA_UNROLL
      for (int j = 0; j < 4; ++j) function(4 * quad + j, scales.of(scale, j), has_min ? minima.of(minimum, j) : vf32{});
    }
  }
}

// Super-groups first .. last - 1 of a panel.
template <quant_format F, class Rounding>
TEGULA_NOINLINE void unpack_bf16(const std::byte* panel, index_t first, index_t last, index_t K, std::byte* pairs) noexcept {
  constexpr int group_rows = F::group_k / 4;
  const std::size_t ahead = fetch_distance<F>();
  for (index_t s = first; s < last; ++s) {
    const auto super = super_group_at<F>(panel, s, K);
    fetch_ahead(super.base, ahead, t::panel_layout<F>::super_at(1));
    for (std::size_t b = 0; b < super.blocks; ++b, pairs += F::block_k / 2 * t::row_bytes)
      for (int v = 0; v < panel_vectors; ++v) {
        const auto column = static_cast<std::size_t>(v * lanes * 4);
        const std::byte* rows = super.quants(b) + column;
        for_each_group<F>(super, b, v, [&](int g, vf32 scale, vf32 minimum) TEGULA_LAMBDA_INLINE {
          TEGULA_UNROLL
          for (int r = g * group_rows; r < (g + 1) * group_rows; ++r)
            dequantize_row<F::offset, Rounding>(quant_row<F>(rows, r), scale, minimum, pairs + 2 * r * t::row_bytes + column);
        });
      }
  }
}

// Scales of the columns of one vector. NaNs are canonical.
TEGULA_INLINE vf32 float_scale(const t::byte_block& block, int vector) { return canonical_nan(load<vf32>(block.scales + vector * lanes)); }

// Blocks first .. last - 1 of a panel of bytes.
template <byte_format F, class Rounding>
TEGULA_NOINLINE void unpack_bf16(const std::byte* panel, index_t first, index_t last, index_t, std::byte* pairs) noexcept {
  const std::size_t ahead = fetch_distance<F>();
  for (index_t b = first; b < last; ++b) {
    const t::byte_block& block = byte_blocks(panel)[b];
    fetch_ahead(panel + static_cast<std::size_t>(b) * sizeof block, ahead, sizeof block);
    for (int v = 0; v < panel_vectors; ++v) {
      const vf32 scale = float_scale(block, v);
      for (int r = 0; r < F::block_k / 4; ++r)
        dequantize_row<128, Rounding>(unsigned_row(block, r, v), scale, vf32{}, pairs + 2 * r * t::row_bytes + v * lanes * 4);
    }
    pairs += F::block_k / 2 * t::row_bytes;
  }
}

// Weights k and k + 1 of a float panel, k even: where they stand, and rounded, with zeros behind K.
template <float_format F>
TEGULA_INLINE const std::byte* weight_pair_at(const std::byte* panel, index_t k) {
  return panel + static_cast<std::size_t>(k / 2) * weight_rows<typename F::element>::pair_bytes;
}
template <float_format F, class Rounding>
TEGULA_INLINE vu32 weight_pair(const std::byte* panel, index_t k, index_t K, int vector) {
  using rows = weight_rows<typename F::element>;
  const std::byte* source = weight_pair_at<F>(panel, k);
  vf32 even{}, odd{};
  if (k + 1 < K) rows::pair(source, vector, even, odd);
  else if (k < K) even = rows::single(source, vector);
  return Rounding::pair(even, odd);
}

// Weights first_k .. last_k - 1 of a float panel of K.
template <float_format F, class Rounding>
TEGULA_NOINLINE void unpack_bf16(const std::byte* panel, index_t first_k, index_t last_k, index_t K, std::byte* pairs) noexcept {
  const std::size_t ahead = fetch_distance<F>();
  for (index_t k = first_k; k < last_k; k += 2, pairs += t::row_bytes) {
    if (ahead != 0) prefetch_lines<weight_rows<typename F::element>::pair_bytes>(weight_pair_at<F>(panel, k) + ahead);
    for (int v = 0; v < panel_vectors; ++v) store(pairs + v * lanes * 4, weight_pair<F, Rounding>(panel, k, K, v));
  }
}

// Whether a panel of K weights is bf16 pairs, in whole tiles, as it stands.
template <block_format F>
constexpr bool is_bf16_tiles(index_t K) {
  return std::is_same_v<F, bf16> && K % 32 == 0;
}

// K weights first_k .. first_k + count - 1 of a panel as bf16 pairs, in whole tiles, zeros behind K: from the panel itself where it is
// that already, else made in `buffer`. first_k is a multiple of the super-group.
template <block_format F, class Rounding = rounding_of<F>>
TEGULA_INLINE const std::byte* bf16_chunk(const std::byte* panel, index_t K, index_t first_k, index_t count, std::byte* buffer) {
  if (is_bf16_tiles<F>(K)) return panel + first_k / 2 * t::row_bytes;
  if constexpr (float_format<F>) {
    unpack_bf16<F, Rounding>(panel, first_k, first_k + t::round_up(count, index_t{32}), K, buffer);
  } else {
    constexpr index_t super_k = t::traits<F>::super_k;
    unpack_bf16<F, Rounding>(panel, first_k / super_k, (first_k + count + super_k - 1) / super_k, K, buffer);
  }
  return buffer;
}
