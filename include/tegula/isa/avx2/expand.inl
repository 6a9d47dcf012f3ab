// Rows of a sparse tile (pack/sparse_panel.hpp) by tables: eight elements at a time, shuffled to their places.
// Included inside namespace tegula::avx2.

// For each eight bits of a mask the vpshufb control that brings as many elements as it has bits to where these stand; 0x80 makes a zero.
template <int ElementBytes>
struct expansion_table {
  alignas(64) std::uint8_t control[256][8 * ElementBytes];

  constexpr expansion_table() : control() {
    for (unsigned bits = 0; bits < 256; ++bits)
      for (int e = 0, value = 0; e < 8; ++e) {
        const bool kept = (bits >> bit_of(e) & 1u) != 0;
        for (int b = 0; b < ElementBytes; ++b)
          control[bits][e * ElementBytes + b] = static_cast<std::uint8_t>(kept ? value * ElementBytes + b : 0x80);
        value += kept;
      }
  }
  // Where element e has its bit, as tile_masks has them.
  static constexpr int bit_of(int e) { return ElementBytes == 2 ? e % 2 * 4 + e / 2 : e; }
};
template <int ElementBytes>
inline constexpr expansion_table<ElementBytes> expansion;

// The masks of a tile, a byte for eight elements.
template <int ElementBytes>
struct tile_masks {
  alignas(32) std::uint8_t groups[16][8 / ElementBytes];

  TEGULA_INLINE explicit tile_masks(const std::byte* masks) {
    for (int i = 0; i < static_cast<int>(sizeof groups); i += 32) {
      const __m256i stored = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(masks + i));
      _mm256_store_si256(reinterpret_cast<__m256i*>(groups[0] + i), in_groups(stored));
    }
  }

 private:
  TEGULA_INLINE static __m256i in_groups(__m256i stored) {
    if constexpr (ElementBytes == 2) {  // nibbles of even elements and of odd ones, halves apart, become neighbours
      const vu32 x = vu32(stored);
      return __m256i((x & 0xf0f00f0fu) | ((x >> 12) & 0x0000f0f0u) | ((x << 12) & 0x0f0f0000u));
    } else {  // shifted left by i, each byte has its bit of group i in its sign
      alignas(32) std::uint8_t bytes[4][8];
      for (int i = 0; i < 8; ++i) {
        const auto signs = static_cast<std::uint32_t>(_mm256_movemask_epi8(stored));
        for (int row = 0; row < 4; ++row) bytes[row][i] = static_cast<std::uint8_t>(signs >> (8 * row));
        stored = _mm256_add_epi8(stored, stored);
      }
      return _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
    }
  }
};

template <int ElementBytes, bool = false>
TEGULA_INLINE void expand_row(const std::byte* values, const tile_masks<ElementBytes>& tile, index_t r, vu32 (&row)[2]) {
  const auto next = [&](int i) TEGULA_LAMBDA_INLINE {  // eight elements
    const unsigned bits = tile.groups[r][i];
    const std::byte* at = values;
    values += __builtin_popcount(bits) * ElementBytes;
    if constexpr (ElementBytes == 2) {
      return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)),
                              _mm_load_si128(reinterpret_cast<const __m128i*>(expansion<2>.control[bits])));
    } else {
      return _mm_shuffle_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)),
                              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(expansion<1>.control[bits])));
    }
  };
  const auto sixteen_bytes = [&](int i) TEGULA_LAMBDA_INLINE {
    if constexpr (ElementBytes == 2) {
      return next(i);
    } else {
      const __m128i low = next(2 * i);
      return _mm_unpacklo_epi64(low, next(2 * i + 1));
    }
  };
  for (int half = 0; half < 2; ++half) {
    const __m128i low = sixteen_bytes(2 * half);
    row[half] = vu32(_mm256_inserti128_si256(_mm256_castsi128_si256(low), sixteen_bytes(2 * half + 1), 1));
  }
}

// For each eight bits of a row's mask in tile_masks the vpshufb control that makes floats of as many bf16: those of even k in the low half,
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

template <class F>
inline constexpr int expanded_rows = float_format<F> ? 1 : 0;
template <>
inline constexpr int expanded_rows<bf16> = 4;
inline constexpr int expanded_strip = 2, expanded_panels = 1;
template <class F>
inline constexpr bool has_float_products = std::is_same_v<F, bf16>;

// e and o (float.inl) of MR rows of A and a panel of bf16, whose rows are expanded to floats by one shuffle for each four columns.
// Registers: 4 MR sums, MR of A, a control. Bound: the loads, two for each four columns.
template <class, int MR>
class float_products {
 public:
  // Adds those of row r of a tile, whose values are kept from `values` on. a: two floats of the first row of A.
  TEGULA_INLINE void add(const std::byte* values, const tile_masks<2>& tile, index_t r, const std::byte* a) {
    __m256 pairs[MR];
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      const __m256d both = _mm256_broadcast_sd(reinterpret_cast<const double*>(a + m * detail::row_bytes));
      pairs[m] = _mm256_permutevar_ps(_mm256_castpd_ps(both), _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
    }
    TEGULA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::size_t bits = tile.groups[r][i];
      const __m256i eight = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
      values += static_cast<std::size_t>(__builtin_popcountll(bits)) * 2;
      const auto* control = reinterpret_cast<const __m256i*>(expansion_to_floats.control[bits]);
      const __m256 w = _mm256_castsi256_ps(_mm256_shuffle_epi8(eight, _mm256_load_si256(control)));
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) sums_[m][i] = _mm256_fmadd_ps(pairs[m], w, sums_[m][i]);
    }
  }
  // e + o of row m, vector v.
  [[nodiscard]] TEGULA_INLINE vf32 total(int m, int v) const {
    const __m256 low = sums_[m][2 * v], high = sums_[m][2 * v + 1];
    return vf32(_mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)));
  }

 private:
  __m256 sums_[MR][4] = {};
};
