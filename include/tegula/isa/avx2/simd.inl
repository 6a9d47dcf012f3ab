// AVX2's vectors: eight lanes, so a panel is two of them. The vocabulary is described in scalar/simd.inl.
// Included inside namespace tegula::avx2 and its target region.

inline constexpr int lanes = 8;
inline constexpr int max_rows = 4;  // 4 sums, 4 partial sums and what a step needs fill the 16 registers
inline constexpr int wide_rows = 2;
inline constexpr int byte_rows = 4;  // of both halves of a panel: 8 sums
// One plane is a shift and a mask, two have no registers beside 8 sums.
constexpr index_t packed_rows(int bits, std::size_t planes) { return bits == 8 ? detail::max_extent : planes == 1 ? 16 : 2; }
inline constexpr int exact_rows = 4;
inline constexpr int exact_vectors = 2;
inline constexpr int in_place_rows = 0;  // products of two high nibbles would saturate

typedef std::uint32_t vu32 __attribute__((vector_size(4 * lanes)));
typedef std::int32_t vi32 __attribute__((vector_size(4 * lanes)));
typedef std::int16_t vi16 __attribute__((vector_size(4 * lanes)));
typedef std::uint16_t vu16 __attribute__((vector_size(4 * lanes)));
typedef float vf32 __attribute__((vector_size(4 * lanes)));

TEGULA_INLINE vu32 splat(std::uint32_t x) { return vu32(_mm256_set1_epi32(static_cast<int>(x))); }
TEGULA_INLINE vf32 splat(float x) { return vf32(_mm256_set1_ps(x)); }
TEGULA_INLINE vf32 to_float(vi32 x) { return vf32(_mm256_cvtepi32_ps(__m256i(x))); }
TEGULA_INLINE vf32 fma(vf32 a, vf32 b, vf32 c) { return vf32(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c))); }
TEGULA_INLINE vi32 round_to_int(vf32 x) { return vi32(_mm256_cvtps_epi32(__m256(x))); }
TEGULA_INLINE vu32 widen_bytes(const void* p) { return vu32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p)))); }
TEGULA_INLINE vf32 widen_halves(const void* halves) { return vf32(_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(halves)))); }

TEGULA_INLINE vi32 larger(vi32 a, vi32 b) { return vi32(_mm256_max_epi32(__m256i(a), __m256i(b))); }
TEGULA_INLINE vi32 larger_magnitude(vi32 magnitude, vf32 x) { return larger(magnitude, vi32(x) & 0x7fffffff); }

struct missed_nan {
  TEGULA_INLINE void look_at(vu32) {}
  [[nodiscard]] static constexpr bool any() { return false; }
};

TEGULA_INLINE vi32 largest_lanes(const vi32 (&v)[lanes]) {
  vi32 two[4], four[2];  // of v in each, the others' partial results beside
  TEGULA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const __m256i a = __m256i(v[2 * i]), b = __m256i(v[2 * i + 1]);
    two[i] = larger(vi32(_mm256_unpacklo_epi32(a, b)), vi32(_mm256_unpackhi_epi32(a, b)));
  }
  TEGULA_UNROLL
  for (int i = 0; i < 2; ++i) {
    const __m256i a = __m256i(two[2 * i]), b = __m256i(two[2 * i + 1]);
    four[i] = larger(vi32(_mm256_unpacklo_epi64(a, b)), vi32(_mm256_unpackhi_epi64(a, b)));
  }
  const __m256i a = __m256i(four[0]), b = __m256i(four[1]);
  return larger(vi32(_mm256_permute2x128_si256(a, b, 0x20)), vi32(_mm256_permute2x128_si256(a, b, 0x31)));
}

// Two levels of packing leave [128 bits of the source][source]; this brings the sources one after the other.
TEGULA_INLINE __m256i by_source(__m256i packed) { return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)); }
TEGULA_INLINE vu32 pack_bytes(vi32 a, vi32 b, vi32 c, vi32 d) {
  const __m256i ab = _mm256_packs_epi32(__m256i(a), __m256i(b)), cd = _mm256_packs_epi32(__m256i(c), __m256i(d));
  return vu32(by_source(_mm256_packs_epi16(ab, cd)));
}
TEGULA_INLINE vu32 pack_halves(vu32 a, vu32 b) { return vu32(_mm256_permute4x64_epi64(_mm256_packus_epi32(__m256i(a), __m256i(b)), 0xd8)); }
// Sums of neighbouring lanes, per 128 bits.
TEGULA_INLINE __m256i add_neighbours(__m256i a, __m256i b) { return _mm256_madd_epi16(_mm256_packs_epi32(a, b), _mm256_set1_epi16(1)); }
TEGULA_INLINE vi32 add_pairs(vi32 a, vi32 b) {
  const __m256i sums = add_neighbours(__m256i(a), __m256i(b));
  return vi32(_mm256_permute4x64_epi64(sums, 0xd8));
}
TEGULA_INLINE vi32 add_quads(vi32 a, vi32 b, vi32 c, vi32 d) {
  return vi32(by_source(add_neighbours(add_neighbours(__m256i(a), __m256i(b)), add_neighbours(__m256i(c), __m256i(d)))));
}
TEGULA_INLINE vu32 upper_bytes(vu16 even, vu16 odd) { return vu32((even >> 8) | (odd & std::uint16_t{0xff00})); }
// With 16 registers, what is touched once a group stays in memory, and partial sums get the registers.
template <class V>
TEGULA_INLINE void leave_in_memory(V& sum) {
  asm("" : "+m"(sum));
}
TEGULA_INLINE vi32 add_pair_products(vi32 sum, vi32 a, vi32 b) { return sum + vi32(_mm256_madd_epi16(__m256i(a), __m256i(b))); }

// vpmaddubsw adds two products into 16 bits. Where quants are small (6 bits and less) several of these fit into 16 bits before
// they must be widened, and the widening multiply takes the scale along.
template <int MaxQuant, int Terms, int Offset = 0>
struct partial_dot {
  static constexpr int offset_k = 16;
  // Sums that start at the offset of all their terms are in the end those of quant - offset, however they wrap on the way.
  static constexpr int magnitude = Terms > offset_k || Offset == 0 ? MaxQuant : Offset > MaxQuant - Offset ? Offset : MaxQuant - Offset;
  static constexpr int fitting = 32767 / (2 * magnitude * 127), steps = fitting < Terms / 4 ? fitting : Terms / 4;
  static constexpr int unscaled_steps = steps;
  static constexpr bool starts_at_offset = false, offset_applied = false, splits_activations = false;
  static_assert(2 * MaxQuant * 127 <= 32767);
  vi16 sum{};

  TEGULA_INLINE void start(vi32 offset) { sum = vi16(offset); }
  TEGULA_INLINE void add(vu32 quants, vu32 activations) {
    sum = vi16(_mm256_add_epi16(__m256i(sum), _mm256_maddubs_epi16(__m256i(quants), __m256i(activations))));
    asm("" : "+x"(sum));  // g++ would add products before it adds them to the sum, and run out of registers
  }
  TEGULA_INLINE static vi32 scale_operand(vi32 scale) { return (scale & 0xffff) | (scale << 16); }
  TEGULA_INLINE static vi32 scale_of(vi32 operand) { return operand >> 16; }
  TEGULA_INLINE vi32 scaled(vi32 sums, vi32 scale) const { return sums + vi32(_mm256_madd_epi16(__m256i(sum), __m256i(scale))); }
  TEGULA_INLINE vi32 total(vi32 sums) const { return scaled(sums, vi32(splat(0x00010001u))); }
};

// Quants of 8 bits would saturate, so a sign has to move, and the products, at most 2 * 128 * 127, are widened at once. It is cheapest
// if it is A's: |a| * (q ^ s), where s has all bits set for a < 0. That is q * a, less |a| for a < 0, from whose sum a sum starts.
template <int Terms>
struct partial_dot<255, Terms, 128> {
  static constexpr int unscaled_steps = Terms / 4;
  static constexpr bool starts_at_offset = false, offset_applied = true, splits_activations = true;
  struct split_bytes {
    vu32 magnitudes, flips;
  };
  vi32 sum{};

  // Activations as their magnitudes and what turns a quant, as it is stored, into q ^ s.
  TEGULA_INLINE static split_bytes split(vu32 activations) {
    const __m256i a = __m256i(activations);
    return {vu32(_mm256_abs_epi8(a)), vu32(_mm256_cmpgt_epi8(__m256i{}, a)) ^ 0x80808080u};
  }
  TEGULA_INLINE void start(vi32 negatives) { sum = negatives; }
  TEGULA_INLINE void add(vu32 quants, const split_bytes& a) {
    add_products(_mm256_maddubs_epi16(__m256i(a.magnitudes), __m256i(quants ^ a.flips)));
  }
  // Of activations as they are.
  TEGULA_INLINE void add(vu32 quants, vu32 activations) {
    const __m256i q = __m256i(quants ^ 0x80808080u);
    add_products(_mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(__m256i(activations), q)));
  }
  TEGULA_INLINE vi32 total(vi32 sums) const { return sums + sum; }

 private:
  TEGULA_INLINE void add_products(__m256i products) {
    sum += vi32(_mm256_madd_epi16(products, _mm256_set1_epi16(1)));
    asm("" : "+x"(sum));
  }
};
