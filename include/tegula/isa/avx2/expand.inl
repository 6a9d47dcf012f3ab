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

template <int ElementBytes>
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
