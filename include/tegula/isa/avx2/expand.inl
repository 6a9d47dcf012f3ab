// A row of a sparse panel by tables: eight elements at a time, shuffled to their places. Included inside namespace tegula::avx2.

// For each 8 bits of a mask the vpshufb control that brings as many elements as it has bits to where these stand; 0x80 makes a zero.
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
  // Where element e of eight has its bit in an index (groups_of_eight).
  static constexpr int bit_of(int e) { return ElementBytes == 2 ? e % 2 * 4 + 3 - e / 2 : e; }
};
template <int ElementBytes>
inline constexpr expansion_table<ElementBytes> expansion;

// The bits of each eight elements of a row, one after the other: of four groups of words, of eight groups of bytes.
template <int ElementBytes>
TEGULA_INLINE std::uint64_t groups_of_eight(const std::byte* mask) {
  if constexpr (ElementBytes == 2) {  // the nibbles of even and of odd elements, highest first
    std::uint32_t bits;
    __builtin_memcpy(&bits, mask, sizeof bits);
    std::uint64_t halves = (bits & 0xffffu) | static_cast<std::uint64_t>(bits >> 16) << 32;
    halves = (halves | halves << 8) & 0x00ff00ff00ff00ffu;
    halves = (halves | halves << 4) & 0x0f0f0f0f0f0f0f0fu;
    return __builtin_bswap32(static_cast<std::uint32_t>(halves | halves >> 28));
  } else {  // shifted by i, the bytes have the bits of group i in their signs
    __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(mask));
    std::uint64_t groups = 0;
    for (int i = 0; i < 64; i += 8) {
      groups |= static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm_movemask_epi8(bits))) << i;
      bits = _mm_add_epi8(bits, bits);
    }
    return groups;
  }
}

template <int ElementBytes>
TEGULA_INLINE void expand_row(const std::byte* values, const std::byte* mask, vu32 (&row)[2]) {
  const std::uint64_t groups = groups_of_eight<ElementBytes>(mask);
  const auto next = [&](int i) TEGULA_LAMBDA_INLINE {  // eight elements
    const auto bits = static_cast<unsigned>(groups >> (8 * i) & 0xffu);
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
  const auto sixteen = [&](int i) TEGULA_LAMBDA_INLINE {  // bytes, from `i` on
    if constexpr (ElementBytes == 2) return next(i / 16);
    const __m128i low = next(i / 8);
    return _mm_unpacklo_epi64(low, next(i / 8 + 1));
  };
  for (int half = 0; half < 2; ++half) {
    const __m128i low = sixteen(32 * half);
    row[half] = vu32(_mm256_inserti128_si256(_mm256_castsi128_si256(low), sixteen(32 * half + 16), 1));
  }
}
