// AVX-512's vectors: sixteen lanes, a panel's row. The vocabulary is described in scalar/simd.inl.
// Included inside namespace tegula::avx512 and its target region; AMX's kernels use it from there.

inline constexpr int lanes = 16;
inline constexpr int max_rows = 8;  // 8 sums, 8 partial sums, 8 rows of C
inline constexpr int paired_rows = 8;
inline constexpr bool many_registers = true;
// Zen 5 would gain up to 32 rows (Q4_0 2 %, Q4_K 5 %), by the ports of Intel's more than 8 lose: Q4_0 and Q4_K 8 % with 16, 13 % with 32.
// From memory, GFLOP/s, M = 6, 8 and 16, before they were packed and now: Q4_0 298 to 618, 398 to 690 and 500 to 719, Q4_K 261 to 627, 341
// to 650 and 450 to 657.
constexpr index_t packed_rows(int, std::size_t, bool) { return 16; }
constexpr int packed_strip(int, std::size_t, bool) { return 8; }
inline constexpr int exact_rows = 4;     // Zen 4 loads one zmm a cycle: 4 x 2 needs 6 for 8 products, 8 x 1 needs 9
inline constexpr int exact_vectors = 2;  // of two panels
inline constexpr int in_place_rows = 2;
inline constexpr int byte_rows = 16;  // 16 sums

typedef std::uint32_t vu32 __attribute__((vector_size(4 * lanes)));
typedef std::int32_t vi32 __attribute__((vector_size(4 * lanes)));
typedef std::int16_t vi16 __attribute__((vector_size(4 * lanes)));
typedef std::uint16_t vu16 __attribute__((vector_size(4 * lanes)));
typedef float vf32 __attribute__((vector_size(4 * lanes)));

TEGULA_INLINE vu32 splat(std::uint32_t x) { return vu32(_mm512_set1_epi32(static_cast<int>(x))); }
TEGULA_INLINE vf32 splat(float x) { return vf32(_mm512_set1_ps(x)); }
TEGULA_INLINE vf32 to_float(vi32 x) { return __builtin_convertvector(x, vf32); }
TEGULA_INLINE vf32 fma(vf32 a, vf32 b, vf32 c) { return vf32(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c))); }
// g++ 12 warns of an uninitialised variable inside these intrinsics without a mask; with a full one they are the same instruction.
TEGULA_INLINE vi32 round_to_int(vf32 x) { return vi32(_mm512_maskz_cvtps_epi32(0xffff, __m512(x))); }
TEGULA_INLINE vu32 widen_bytes(const void* p) {
  return vu32(_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(static_cast<const __m128i*>(p))));
}
TEGULA_INLINE vf32 widen_halves(const void* halves) {
  return vf32(_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(static_cast<const __m256i*>(halves))));
}

inline constexpr bool selects_at_once = true;
TEGULA_INLINE vu32 select_bits(std::uint32_t mask, vu32 a, vu32 b) {
  return vu32(_mm512_ternarylogic_epi32(__m512i(splat(mask)), __m512i(a), __m512i(b), 0xca));
}
TEGULA_INLINE vi32 larger(vi32 a, vi32 b) { return vi32(_mm512_maskz_max_epi32(0xffff, __m512i(a), __m512i(b))); }

// One instruction, which takes the number where the other operand is a quiet NaN. As a quant, NaN is the most negative integer.
TEGULA_INLINE vi32 larger_magnitude(vi32 magnitude, vf32 x) {
  constexpr int largest_magnitude = 0b1011;
  return vi32(_mm512_maskz_range_ps(0xffff, __m512(magnitude), __m512(x), largest_magnitude));
}
class missed_nan {
 public:
  TEGULA_INLINE void look_at(vu32 bytes) { least_ = vu32(_mm512_min_epi8(__m512i(least_), __m512i(bytes))); }
  [[nodiscard]] TEGULA_INLINE bool any() const { return _mm512_cmpeq_epi8_mask(__m512i(least_), _mm512_set1_epi8(-128)) != 0; }

 private:
  vu32 least_{};
};

TEGULA_INLINE vi32 larger_halves(vi32 a, vi32 b) {  // neighbours of a's 128 bits, then of b's
  return larger(vi32(_mm512_maskz_shuffle_i32x4(0xffff, __m512i(a), __m512i(b), 0x88)),
                vi32(_mm512_maskz_shuffle_i32x4(0xffff, __m512i(a), __m512i(b), 0xdd)));
}
TEGULA_INLINE vi32 largest_lanes(const vi32 (&v)[lanes]) {
  vi32 two[8], four[4], eight[2];  // of v in each, the others' partial results beside
  TEGULA_UNROLL
  for (int i = 0; i < 8; ++i) {
    const __m512i a = __m512i(v[2 * i]), b = __m512i(v[2 * i + 1]);
    two[i] = larger(vi32(_mm512_maskz_unpacklo_epi32(0xffff, a, b)), vi32(_mm512_maskz_unpackhi_epi32(0xffff, a, b)));
  }
  TEGULA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const __m512i a = __m512i(two[2 * i]), b = __m512i(two[2 * i + 1]);
    four[i] = larger(vi32(_mm512_maskz_unpacklo_epi64(0xff, a, b)), vi32(_mm512_maskz_unpackhi_epi64(0xff, a, b)));
  }
  TEGULA_UNROLL
  for (int i = 0; i < 2; ++i) eight[i] = larger_halves(four[2 * i], four[2 * i + 1]);
  return larger_halves(eight[0], eight[1]);
}

// Two levels of packing leave [128 bits of the source][source]; this brings the sources one after the other.
TEGULA_INLINE __m512i by_source(__m512i packed) {
  return _mm512_maskz_permutexvar_epi32(0xffff, _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed);
}
TEGULA_INLINE vu32 pack_bytes(vi32 a, vi32 b, vi32 c, vi32 d) {
  const __m512i ab = _mm512_packs_epi32(__m512i(a), __m512i(b)), cd = _mm512_packs_epi32(__m512i(c), __m512i(d));
  return vu32(by_source(_mm512_packs_epi16(ab, cd)));
}
TEGULA_INLINE vu32 pack_halves(vu32 a, vu32 b) {
  return vu32(_mm512_maskz_permutexvar_epi64(0xff, _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), _mm512_packus_epi32(__m512i(a), __m512i(b))));
}
// Sums of neighbouring lanes, per 128 bits.
TEGULA_INLINE __m512i add_neighbours(__m512i a, __m512i b) { return _mm512_madd_epi16(_mm512_packs_epi32(a, b), _mm512_set1_epi16(1)); }
TEGULA_INLINE vi32 add_pairs(vi32 a, vi32 b) {
  const __m512i sums = add_neighbours(__m512i(a), __m512i(b));
  return vi32(_mm512_maskz_permutexvar_epi64(0xff, _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), sums));
}
TEGULA_INLINE vi32 add_quads(vi32 a, vi32 b, vi32 c, vi32 d) {
  return vi32(by_source(add_neighbours(add_neighbours(__m512i(a), __m512i(b)), add_neighbours(__m512i(c), __m512i(d)))));
}
// vpshufb under a mask: clang rewrites its intrinsic as a shift and two logical operations (seen in 19).
TEGULA_INLINE vu32 upper_bytes(vu16 even, vu16 odd) {
  const __m512i upper = _mm512_maskz_broadcast_i32x4(0xffff, _mm_setr_epi8(1, -1, 3, -1, 5, -1, 7, -1, 9, -1, 11, -1, 13, -1, 15, -1));
  constexpr __mmask64 even_bytes = 0x5555555555555555;
  asm("vpshufb %2, %1, %0%{%3%}" : "+v"(odd) : "v"(even), "v"(upper), "Yk"(even_bytes));
  return vu32(odd);
}

template <class V>
TEGULA_INLINE void leave_in_memory(V&) {}
template <class V>
TEGULA_INLINE void keep_in_register(V&) {}
template <class V>
TEGULA_INLINE void hold(V& v) {
  asm volatile("" : "+v"(v));
}

// vpdpwssd: clang rewrites its intrinsic as a multiply and an add (seen in 19).
TEGULA_INLINE vi32 add_pair_products(vi32 sum, vi32 a, vi32 b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "vm"(b));
  return sum;
}

TEGULA_INLINE vi32 add_quad_products(vi32 sum, vu32 quants, vu32 activations) {
  return vi32(_mm512_dpbusd_epi32(__m512i(sum), __m512i(quants), __m512i(activations)));
}

inline constexpr int scaled_chains = 2;  // vpmulld takes two operations of one port on Intel
#include "../generic/vnni_dot.inl"
