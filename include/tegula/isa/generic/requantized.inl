// Requantized mode: every weight brought to int8 with one scale per 256 of K, which int8_kernel multiplies. With a group's weight = fma(D,
// quant - offset, M), per column and 256 of K:
//
//   bound = max over the groups of |weight| at the ends of the quants' range      quantizers reach it nearly always
//   scale = bound / 127
//   byte  = (factor * (quant - offset) + addend + 2^7) >> 8     factor, addend = rint(D, M * 127 * 2^8 / bound)
//
// In 16 bits, whose wraps cancel: |factor * (quant - offset) + addend| <= 127 * 2^8 + (|quant - offset| + 1) / 2 + 1 < 2^15 - 2^7, and so
// |byte| <= 127. Integers from there on: the same bits on every ISA.

// What makes bytes of the quants of one group: bits 8 - 15 of factor * quant + addend. In 16-bit lanes.
struct byte_scale {
  vu16 factor, addend;
};

// The largest |weight| of a group as bits, which order like the numbers, NaN last.
template <quant_format F>
TEGULA_INLINE vi32 reach(vf32 scale, vf32 minimum) {
  constexpr int most = t::traits<F>::max_quant - F::offset, far = F::offset > most ? F::offset : most;
  const auto magnitude = [&](vf32 x) TEGULA_LAMBDA_INLINE { return vi32(x) & 0x7fffffff; };
  if constexpr (t::traits<F>::has_min) {  // and no offset
    const vi32 low = magnitude(minimum), high = magnitude(fma(scale, splat(static_cast<float>(most)), minimum));
    return larger(low, high);
  } else {
    return magnitude(scale * splat(static_cast<float>(far)));
  }
}

// The unit of a column's bytes.
class byte_unit {
 public:
  // No finite bound is below 2^-24 but 0, and with 2^-24 in its place nothing is divided by 0. A bound that is Inf or NaN makes the
  // scale NaN: it reaches its own column of C and no other.
  TEGULA_INLINE explicit byte_unit(vi32 bound_bits)
      : finite_(bound_bits < 0x7f800000), bound_(vf32(bound_bits)), inverse_(splat(127.f * 256) / bound_) {}

  static constexpr std::int32_t least_bound = std::bit_cast<std::int32_t>(0x1p-24f);

  [[nodiscard]] TEGULA_INLINE vf32 scale() const { return vf32(vi32(bound_ * splat(1.f / 127)) | ~finite_); }

  // Of a group; bytes come out with Offset added.
  template <quant_format F, int Offset>
  [[nodiscard]] TEGULA_INLINE byte_scale of(vf32 scale, vf32 minimum) const {
    const vu16 factor = both_halves(in_units(scale));
    vi32 addend = vi32(splat((Offset << 8) + 128u));
    if constexpr (t::traits<F>::has_min) addend += in_units(minimum);
    return {factor, both_halves(addend) - factor * static_cast<std::uint16_t>(F::offset)};
  }

 private:
  [[nodiscard]] TEGULA_INLINE vi32 in_units(vf32 x) const { return round_to_int(vf32(vi32(x * inverse_) & finite_)); }
  [[nodiscard]] TEGULA_INLINE static vu16 both_halves(vi32 x) { return vu16((x & 0xffff) | (x << 16)); }

  vi32 finite_;
  vf32 bound_, inverse_;
};

constexpr index_t end_of_256(index_t K, index_t k) { return K - k < t::scale_k ? K : k + t::scale_k; }

// 256 of K of a panel, or what is left of it, for the columns of one vector: what each of its groups is multiplied by, bytes coming out
// with Offset added.
template <quant_format F, int Offset>
struct byte_scales {
  static constexpr int groups = t::traits<F>::groups;
  byte_scale of[t::scale_k / F::group_k];

  // The scale of the columns.
  TEGULA_INLINE vf32 make(const std::byte* panel, index_t K, index_t k, int vector) {
    constexpr index_t super_blocks = t::traits<F>::super_blocks;
    const index_t first = k / F::block_k, last = end_of_256(K, k) / F::block_k;
    vf32 scales[t::scale_k / F::group_k], minima[t::scale_k / F::group_k];
    vi32 bound = vi32(splat(static_cast<std::uint32_t>(byte_unit::least_bound)));
    for (index_t b = first; b < last; ++b) {
      const auto super = super_group_at<F>(panel, b / super_blocks, K);
      for_each_group<F>(super, static_cast<std::size_t>(b % super_blocks), vector,
                        [&](int g, vf32 scale, vf32 minimum) TEGULA_LAMBDA_INLINE {
                          scales[(b - first) * groups + g] = scale;
                          minima[(b - first) * groups + g] = minimum;
                          bound = larger(bound, reach<F>(scale, minimum));
                        });
    }
    const byte_unit unit(bound);
    for (index_t g = 0; g < (last - first) * groups; ++g) of[g] = unit.of<F, Offset>(scales[g], minima[g]);
    return unit.scale();
  }
};

// Tile row r of a block as bytes.
template <quant_format F, class Shift = constant_shift>
TEGULA_INLINE void requantize_row(const std::byte* rows, int r, const byte_scale& by, std::byte* bytes) {
  const vu32 quants = quant_row<F, 0, Shift>(rows, r);
  const vu16 even = vu16(quants & 0x00ff00ffu) * by.factor + by.addend, odd = (vu16(quants) >> 8) * by.factor + by.addend;
  store(bytes, (even >> 8) | (odd & std::uint16_t{0xff00}));
}

// 256 of K, or what is left of it, of the columns of one vector.
template <quant_format F, int Offset>
TEGULA_INLINE void requantize_256(const std::byte* panel, index_t K, index_t k, int vector, t::byte_block& out) {
  constexpr int groups = t::traits<F>::groups, group_rows = F::group_k / 4;
  constexpr index_t super_blocks = t::traits<F>::super_blocks;
  const index_t first = k / F::block_k, last = end_of_256(K, k) / F::block_k;
  const auto column = static_cast<std::size_t>(vector * lanes * 4);
  byte_scales<F, Offset> by;
  store(out.scales + vector * lanes, by.make(panel, K, k, vector));
  for (index_t b = first; b < last; ++b) {
    const auto super = super_group_at<F>(panel, b / super_blocks, K);
    const std::byte* quants = super.quants(static_cast<std::size_t>(b % super_blocks)) + column;
    TEGULA_UNROLL
    for (int g = 0; g < groups; ++g) {
      const index_t group = (b - first) * groups + g;
      TEGULA_UNROLL
      for (int r = 0; r < group_rows; ++r)
        requantize_row<F>(quants, g * group_rows + r, by.of[group], out.rows[group * group_rows + r] + column);
    }
  }
}

// K weights first_k .. last_k - 1 of a panel, first_k a multiple of 256: bytes + Offset, in whole 256s of K with zeros behind.
template <quant_format F, int Offset>
TEGULA_NOINLINE void requantize(const std::byte* panel, index_t K, index_t first_k, index_t last_k, t::byte_block* out) noexcept {
  for (index_t k = first_k; k < last_k; k += t::scale_k, ++out) {
    for (int v = 0; v < panel_vectors; ++v) requantize_256<F, Offset>(panel, K, k, v, *out);
    if (const index_t count = K - k; count < t::scale_k)
      __builtin_memset(out->rows[count / 4], 0, static_cast<std::size_t>((t::scale_k - count) * t::NR));
  }
}
