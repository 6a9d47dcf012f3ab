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

// The largest |weight| of groups, as bits, which order like the numbers, NaN last.
template <quant_format F>
class weight_bound {
  static constexpr int most = t::traits<F>::max_quant - F::offset, far = F::offset > most ? F::offset : most;
  // No finite bound is below 2^-24 but 0, and with 2^-24 in its place nothing is divided by 0.
  static constexpr float least = 0x1p-24f;

 public:
  // Group g of a block. A block's scale or minimum that is no finite number makes all its groups' so; the first group shows it, for which
  // larger_magnitude is not asked.
  TEGULA_INLINE void add(int g, vf32 scale, vf32 minimum) {
    if constexpr (t::traits<F>::has_min) {  // and no offset
      add(g, minimum);
      add(g, fma(scale, splat(static_cast<float>(most)), minimum));
    } else {
      add(g, scale);
    }
  }
  [[nodiscard]] TEGULA_INLINE vi32 bits() const {
    const vi32 bound = larger(first_, others_);
    return larger(t::traits<F>::has_min ? bound : vi32(vf32(bound) * splat(static_cast<float>(far))), vi32(splat(least)));
  }

 private:
  TEGULA_INLINE void add(int g, vf32 weight) {
    if (g == 0) first_ = larger(first_, vi32(weight) & 0x7fffffff);
    else others_ = larger_magnitude(others_, weight);
  }

  vi32 first_{}, others_{};  // of first groups of blocks, of the others
};

// The unit of a column's bytes.
class byte_unit {
 public:
  TEGULA_INLINE explicit byte_unit(vi32 bound_bits) : bound_(vf32(bound_bits)), inverse_(splat(127.f * 256) / bound_) {}

  // NaN for a bound that is Inf or NaN: so it reaches its own column of C and no other, whatever the column's bytes are.
  [[nodiscard]] TEGULA_INLINE vf32 scale() const { return vf32(vi32(bound_ * splat(1.f / 127)) | (vi32(bound_) >= 0x7f800000)); }

  // Of a group; bytes come out with Offset added.
  template <quant_format F, int Offset>
  [[nodiscard]] TEGULA_INLINE byte_scale of(vf32 scale, vf32 minimum) const {
    const vu16 factor = vu16(in_both_halves(in_units(scale)));
    vi32 addend = vi32(splat((Offset << 8) + 128u));
    if constexpr (t::traits<F>::has_min) addend += in_units(minimum);
    return {factor, vu16(in_both_halves(addend)) - factor * static_cast<std::uint16_t>(F::offset)};
  }

 private:
  [[nodiscard]] TEGULA_INLINE vi32 in_units(vf32 x) const { return round_to_int(x * inverse_); }

  vf32 bound_, inverse_;
};

// Products of bytes with a number of 11 bits, which are exact: fma(256 + byte, x, -256 x), and with the sign of a signed byte flipped 384
// in place of 256. So a byte needs no conversion: it is shifted to the top of a significand.
template <bool Signed>
class byte_multiples {
  static constexpr float unit = Signed ? 384.f : 256.f;

 public:
  TEGULA_INLINE explicit byte_multiples(vf32 x) : x_(x), less_(x * splat(-unit)) {}

  // Of byte j of every lane. NaN if x is NaN or infinite.
  [[nodiscard]] TEGULA_INLINE vf32 of(vu32 words, int j) const {
    const vu32 at_top = j < 2 ? words << (15 - 8 * j) : words >> (8 * j - 15);
    return fma(vf32((at_top & 0x007f8000u) ^ std::bit_cast<std::uint32_t>(unit)), x_, less_);
  }

 private:
  vf32 x_, less_;
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
    weight_bound<F> bound;
    for (index_t b = first; b < last; ++b) {
      const auto super = super_group_at<F>(panel, b / super_blocks, K);
      for_each_group<F, byte_multiples>(super, static_cast<std::size_t>(b % super_blocks), vector,
                                        [&](int g, vf32 scale, vf32 minimum) TEGULA_LAMBDA_INLINE {
                                          scales[(b - first) * groups + g] = scale;
                                          minima[(b - first) * groups + g] = minimum;
                                          bound.add(g, scale, minimum);
                                        });
    }
    const byte_unit unit(bound.bits());
    for (index_t g = 0; g < (last - first) * groups; ++g) of[g] = unit.of<F, Offset>(scales[g], minima[g]);
    return unit.scale();
  }
};

// Tile row r of a block as bytes, one of `rows`: quants go from their places to 16 bits at once.
template <quant_format F, class Fields>
TEGULA_INLINE void requantize_row(const eight_rows<F, Fields>& rows, int r, const byte_scale& by, std::byte* bytes) {
  using all_rows = eight_rows<F, Fields>;
  constexpr std::uint32_t mask = (1u << all_rows::bits) - 1u;
  const vu32 quants = rows.row_in_place(r);
  const int bit = all_rows::first_bit(r);
  const vu16 even = Fields::template of_lower_bytes<mask>(quants, bit);
  const vu16 odd = shifted_fields::of_lower_bytes<mask>(quants, 8 + bit);
  store(bytes, upper_bytes(even * by.factor + by.addend, odd * by.factor + by.addend));
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
    constexpr int block_rows = groups * group_rows, together = eight_rows<F>::count;
    TEGULA_UNROLL
    for (int r0 = 0; r0 < block_rows; r0 += together) {
      const eight_rows<F> rows(quants, r0);
      TEGULA_UNROLL
      for (int r = r0; r < r0 + together; ++r)
        requantize_row(rows, r, by.of[(b - first) * groups + r / group_rows], out.rows[(b - first) * block_rows + r] + column);
    }
  }
}

// K weights first_k .. last_k - 1 of a panel, first_k a multiple of 256: bytes + Offset, in whole 256s of K with zeros behind.
template <quant_format F, int Offset>
TEGULA_NOINLINE void requantize(const std::byte* panel, index_t K, index_t first_k, index_t last_k, t::byte_block* out) noexcept {
  constexpr index_t super_k = t::traits<F>::super_k;
  using layout = t::panel_layout<F>;
  const std::size_t ahead = fetch_distance<F>();
  for (index_t k = first_k; k < last_k; k += t::scale_k, ++out) {
    fetch_ahead(panel + layout::super_at(k / super_k), ahead, layout::super_at(t::scale_k / super_k));
    for (int v = 0; v < panel_vectors; ++v) requantize_256<F, Offset>(panel, K, k, v, *out);
    if (const index_t count = K - k; count < t::scale_k)
      __builtin_memset(out->rows[count / 4], 0, static_cast<std::size_t>((t::scale_k - count) * t::NR));
  }
}
