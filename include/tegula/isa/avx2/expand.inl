// Rows of a sparse tile (pack/sparse_panel.hpp) by tables: eight elements at a time, shuffled to their places.
// Included inside namespace tegula::avx2.

// For each eight bits of a mask the vpshufb control that brings as many elements as it has bits to where these stand; 0x80 makes a zero.
template <int ElementBytes>
struct expansion_table {
  alignas(64) std::uint8_t control[256][8 * ElementBytes];

  constexpr expansion_table() : control() {
    for (unsigned bits = 0; bits < 256; ++bits)
      for (int e = 0, value = 0; e < 8; ++e) {
        const bool kept = (bits >> e & 1u) != 0;
        for (int b = 0; b < ElementBytes; ++b)
          control[bits][e * ElementBytes + b] = static_cast<std::uint8_t>(kept ? value * ElementBytes + b : 0x80);
        value += kept;
      }
  }
};
template <int ElementBytes>
inline constexpr expansion_table<ElementBytes> expansion;

template <int, bool>
using row_masks = detail::plain_masks;

// Calls function(i, control, at) for a row's elements, eight at a time: which of the controls that their bits ask for, and where their
// values are kept. Bits are counted where they stand as an index of bytes: these few operations are the bound.
template <int ElementBytes, class Control, class Function>
TEGULA_INLINE void for_each_eight(const std::byte* values, std::uint64_t mask, const Control (&controls)[256], Function function) {
  constexpr int up = std::countr_zero(sizeof(Control));
  TEGULA_UNROLL
  for (int i = 0; i < 8 / ElementBytes; ++i) {
    const std::uint64_t index = (8 * i < up ? mask << (up - 8 * i) : mask >> (8 * i - up)) & 0xff * sizeof(Control);
    function(i, reinterpret_cast<const std::byte*>(controls) + index, values);
    values += static_cast<std::size_t>(__builtin_popcountll(index)) * ElementBytes;
  }
}

template <int ElementBytes, bool>
TEGULA_INLINE void expand_row(const std::byte* values, std::uint64_t mask, vu32 (&row)[2]) {
  __m128i eights[8 / ElementBytes];
  for_each_eight<ElementBytes>(values, mask, expansion<ElementBytes>.control,
                               [&](int i, const std::byte* control, const std::byte* at) TEGULA_LAMBDA_INLINE {
                                 const auto* of = reinterpret_cast<const __m128i*>(control);
                                 const auto* kept = reinterpret_cast<const __m128i*>(at);
                                 if constexpr (ElementBytes == 2) eights[i] = _mm_shuffle_epi8(_mm_loadu_si128(kept), _mm_load_si128(of));
                                 else eights[i] = _mm_shuffle_epi8(_mm_loadl_epi64(kept), _mm_loadl_epi64(of));
                               });
  const auto sixteen_bytes = [&](int i) TEGULA_LAMBDA_INLINE {
    if constexpr (ElementBytes == 2) return eights[i];
    else return _mm_unpacklo_epi64(eights[2 * i], eights[2 * i + 1]);
  };
  for (int half = 0; half < 2; ++half)
    row[half] = vu32(_mm256_inserti128_si256(_mm256_castsi128_si256(sixteen_bytes(2 * half)), sixteen_bytes(2 * half + 1), 1));
}

// For each eight bits of a mask the vpshufb control that makes floats of as many bf16: those of even k in the low half,
// those of odd k in the high one, four columns each.
struct float_table {
  alignas(64) std::uint8_t control[256][32];

  constexpr float_table() : control() {
    for (unsigned bits = 0; bits < 256; ++bits)
      for (int e = 0; e < 8; ++e)
        for (int b = 0; b < 4; ++b) {
          const std::uint8_t word = expansion<2>.control[bits][2 * e + b % 2];
          control[bits][e % 2 * 16 + e / 2 * 4 + b] = b < 2 ? 0x80 : word;
        }
  }
};
inline constexpr float_table expansion_to_floats;

template <class>
inline constexpr int sized_rows = 0;
template <int>
bool keeps_halves(const std::byte*);

template <class F>
inline constexpr int expanded_rows = float_format<F> ? 1 : 0;
template <>
inline constexpr int expanded_rows<bf16> = 4;
inline constexpr int expanded_strip = 2, expanded_panels = 1;
template <class F>
inline constexpr bool has_float_products = std::is_same_v<F, bf16>;

// e and o (float.inl) of MR rows of A and a panel of bf16, whose rows are expanded to floats by one shuffle for each four columns.
// Registers: 4 MR sums, MR of A, a control. Bound: the loads, two for each four columns.
template <class, int MR, bool>
class float_products {
 public:
  // Adds those of a row of a tile. a: two floats of the first row of A.
  TEGULA_INLINE void add(const std::byte* values, std::uint64_t mask, const std::byte* a) {
    __m256 pairs[MR];
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      const __m256d both = _mm256_broadcast_sd(reinterpret_cast<const double*>(a + m * detail::row_bytes));
      pairs[m] = _mm256_permutevar_ps(_mm256_castpd_ps(both), _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
    }
    for_each_eight<2>(values, mask, expansion_to_floats.control,
                      [&](int i, const std::byte* control, const std::byte* at) TEGULA_LAMBDA_INLINE {
                        const __m256i eight = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
                        const __m256i of = _mm256_load_si256(reinterpret_cast<const __m256i*>(control));
                        const __m256 w = _mm256_castsi256_ps(_mm256_shuffle_epi8(eight, of));
                        TEGULA_UNROLL
                        for (int m = 0; m < MR; ++m) sums_[m][i] = _mm256_fmadd_ps(pairs[m], w, sums_[m][i]);
                      });
  }
  // e + o of row m, vector v.
  [[nodiscard]] TEGULA_INLINE vf32 total(int m, int v) const {
    const __m256 low = sums_[m][2 * v], high = sums_[m][2 * v + 1];
    return vf32(_mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)));
  }

 private:
  __m256 sums_[MR][4] = {};
};
