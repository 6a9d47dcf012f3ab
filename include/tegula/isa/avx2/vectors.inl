// The vectors of AVX2, and of AVX-VNNI, which adds nothing but dot products: eight lanes, so a panel is two of them. The vocabulary is
// described in scalar/simd.inl. Included inside namespaces tegula::avx2 and tegula::avx_vnni and their target regions.

inline constexpr int lanes = 8;

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

inline constexpr bool selects_at_once = false;
TEGULA_INLINE vu32 select_bits(std::uint32_t mask, vu32 a, vu32 b) { return (a & mask) | (b & ~mask); }
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
template <class V>
TEGULA_INLINE void keep_in_register(V& sum) {
  asm("" : "+x"(sum));
}
template <class V>
TEGULA_INLINE void hold(V&) {}
