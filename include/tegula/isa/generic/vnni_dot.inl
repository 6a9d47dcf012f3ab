// partial_dot, which scalar/simd.inl describes, of the ISAs that have vpdpbusd and vpdpwssd, as add_quad_products and add_pair_products.
// Included by their simd.inl.

template <bool Signed>
TEGULA_INLINE vi32 byte_of(vu32 words, int j);  // base.inl

// vpdpbusd adds four products into 32 bits: no saturation anywhere. If a group's sums, in up to scaled_chains parts, fit 16 bits, each is
// scaled and added by one vpdpwssd with {scale, 0}, else by a 32-bit multiply and an addition, 3 operations. The offset is where a sum
// starts, and costs nothing, or, in the two halves in which it comes for a whole group, one operation for all columns.
template <int MaxQuant, int Terms, int Offset = 0>
struct partial_dot {
  static constexpr bool starts_at_offset = Offset != 0, offset_applied = false;
  static constexpr bool splits_activations = false;
  static constexpr int magnitude = Offset > MaxQuant - Offset ? Offset : MaxQuant - Offset;
  static constexpr int fitting = 32767 / (4 * 127 * magnitude);  // adds whose sum is below 2^15
  static constexpr bool fits_16_bits = scaled_chains * fitting >= Terms / 4;
  static constexpr int offset_k = fits_16_bits ? 8 : 16;
  static constexpr int steps = fits_16_bits && fitting < Terms / 4 ? fitting : Terms / 4, unscaled_steps = Terms / 4;
  vi32 sum{};

  TEGULA_INLINE void start(vi32 offset) { sum = fits_16_bits ? offset : add_pair_products(vi32{}, offset, vi32(splat(0x00010001u))); }
  TEGULA_INLINE void add(vu32 quants, vu32 activations) { sum = add_quad_products(sum, quants, activations); }
  TEGULA_INLINE void shift(int up) { sum = up > 0 ? sum << up : sum >> -up; }
  template <bool Signed>
  TEGULA_INLINE static vi32 scale_operand(vu32 scales, int j) {
    const vi32 scale = byte_of<Signed>(scales, j);
    return fits_16_bits ? scale & 0xffff : scale;
  }
  TEGULA_INLINE vi32 scaled(vi32 sums, vi32 scale) const {
    if constexpr (fits_16_bits) return add_pair_products(sums, sum, scale);
    else return sums + sum * scale;
  }
  TEGULA_INLINE vi32 total(vi32 sums) const { return sums + sum; }
};
