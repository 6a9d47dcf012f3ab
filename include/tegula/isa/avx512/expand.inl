// A row of a sparse panel by vpexpandw and vpexpandb. Included inside namespace tegula::avx512.
//
// VBMI2 is not among the features that this region is compiled for (CPUs without it run the rest of it), so these are asm statements.

// A mask register with the bits of `mask`, permuted as pack/sparse_panel.hpp says: broadcast, shifted by the lane's number, its signs read.
// On Sapphire Rapids that leaves port 5 to the expansion, which a move into a mask register would not.
template <int ElementBytes>
TEGULA_INLINE auto row_mask(const std::byte* mask) {
  if constexpr (ElementBytes == 2) {
    std::int32_t bits;
    __builtin_memcpy(&bits, mask, sizeof bits);
    const __m512i by_lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_movepi16_mask(_mm512_maskz_sllv_epi32(0xffff, _mm512_set1_epi32(bits), by_lane));
  } else {
    std::int64_t bits;
    __builtin_memcpy(&bits, mask, sizeof bits);
    const __m512i by_lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_movepi8_mask(_mm512_maskz_sllv_epi64(0xff, _mm512_set1_epi64(bits), by_lane));
  }
}

// In place: a zero-masked expansion waits for what its destination held before, and so waits for nothing but its own load.
template <int ElementBytes>
TEGULA_INLINE void expand_row(const std::byte* values, const std::byte* mask, vu32 (&row)[1]) {
  const auto kept = row_mask<ElementBytes>(mask);
  vu32 elements;
  __builtin_memcpy(&elements, values, sizeof elements);
  if constexpr (ElementBytes == 2) asm("vpexpandw %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  else asm("vpexpandb %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  row[0] = elements;
}
