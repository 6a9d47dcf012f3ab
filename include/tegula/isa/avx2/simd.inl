// AVX2's dot products, on the vectors of vectors.inl. The vocabulary is described in scalar/simd.inl.
// Included inside namespace tegula::avx2 and its target region.

inline constexpr int max_rows = 6;  // 12 sums and what a step needs fill the 16 registers
inline constexpr int paired_rows = 2;
inline constexpr bool many_registers = false;
inline constexpr int byte_rows = 4;  // of both halves of a panel: 8 sums
// One plane is a shift and a mask; two, or scales as codes, have no registers beside 8 sums: strips of 6 rows take half a panel at a time.
// (Zen 5, GFLOP/s, M = 4 and 6, with AVX-VNNI 256 to 317 and 232 to 331 for Q4_K, 219 to 286 and 206 to 306 for Q5_K; without it 191 to 192
// and 185 to 214 for Q6_K. 8 rows are as fast unpacked.)
constexpr index_t packed_rows(int bits, std::size_t planes, bool integer_scales) {
  return bits == 8 ? detail::max_extent : planes == 1 && !integer_scales ? 16 : 6;
}
constexpr int packed_strip(int, std::size_t planes, bool integer_scales) { return planes == 1 && !integer_scales ? 4 : 6; }
inline constexpr int exact_rows = 4;
inline constexpr int exact_vectors = 2;
inline constexpr int in_place_rows = 0;  // products of two high nibbles would saturate

#include "vectors.inl"

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
    keep_in_register(sum);
  }
  // In both halves, by one shuffle; a signed one goes to their upper bytes first.
  template <bool Signed>
  TEGULA_INLINE static vi32 scale_operand(vu32 scales, int j) {
    constexpr int zero = 0x80;
    const auto half = static_cast<std::uint32_t>(Signed ? j << 8 | zero : zero << 8 | j);
    const vu32 lane{0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c};
    const __m256i halves = _mm256_shuffle_epi8(__m256i(scales), __m256i(lane | (half << 16 | half)));
    return vi32(Signed ? _mm256_srai_epi16(halves, 8) : halves);
  }
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
    keep_in_register(sum);
  }
};
