// AVX-512's vectors: sixteen lanes, a panel's row. The vocabulary is described in scalar/simd.inl.
// Included inside namespace tegula::avx512 and its target region; AMX's kernels use it from there.

inline constexpr int lanes = 16;
inline constexpr int max_rows = 8;  // 8 sums, 8 partial sums, 8 rows of C
inline constexpr int wide_rows = 8;
inline constexpr int packed_rows = 4;  // unpacking for so few would cost more than it saves
inline constexpr index_t packed_rows_of_bytes = 16;
inline constexpr bool has_32_registers = true;
inline constexpr int exact_rows = 4;     // Zen 4 loads one zmm a cycle: 4 x 2 needs 6 for 8 products, 8 x 1 needs 9
inline constexpr int exact_vectors = 2;  // of two panels
inline constexpr int in_place_rows = 2;

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
TEGULA_INLINE vf32 widen_halves(const void* halves) {
  return vf32(_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(static_cast<const __m256i*>(halves))));
}

template <class V>
TEGULA_INLINE void leave_in_memory(V&) {}

// vpdpwssd: clang rewrites its intrinsic as a multiply and an add (seen in 19).
TEGULA_INLINE vi32 add_pair_products(vi32 sum, vi32 a, vi32 b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "vm"(b));
  return sum;
}

// vpdpbusd adds four products into 32 bits: no saturation anywhere. Sums that fit 16 bits are scaled and added by one vpdpwssd with
// {scale, 0}, else by a 32-bit multiply and an addition, 3 operations. The offset is where a sum starts, and costs nothing.
template <int MaxQuant, int Terms, int Offset = 0>
struct partial_dot {
  static constexpr bool starts_at_offset = Offset != 0, offset_applied = false;
  static constexpr int magnitude = Offset > MaxQuant - Offset ? Offset : MaxQuant - Offset;
  static constexpr int fitting = 32767 / (4 * 127 * magnitude);  // adds whose sum is below 2^15
  static constexpr bool fits_16_bits = 2 * fitting >= Terms / 4;
  static constexpr int steps = fits_16_bits && fitting < Terms / 4 ? fitting : Terms / 4, unscaled_steps = Terms / 4;
  vi32 sum{};

  TEGULA_INLINE void add(vu32 quants, vu32 activations) {
    sum = vi32(_mm512_dpbusd_epi32(__m512i(sum), __m512i(quants), __m512i(activations)));
  }
  TEGULA_INLINE void shift(int up) { sum = up > 0 ? sum << up : sum >> -up; }
  TEGULA_INLINE static vi32 scale_operand(vi32 scale) { return fits_16_bits ? scale & 0xffff : scale; }
  TEGULA_INLINE vi32 scaled(vi32 sums, vi32 scale) const {
    if constexpr (fits_16_bits) return add_pair_products(sums, sum, scale);
    else return sums + sum * scale;
  }
  TEGULA_INLINE vi32 total(vi32 sums) const { return sums + sum; }
};
