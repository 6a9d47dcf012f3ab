// Rows of a sparse tile (pack/sparse_panel.hpp) by vpexpandw and vpexpandb. Included inside namespace tegula::avx512.
//
// VBMI2 is not among the features that this region is compiled for, since CPUs without it run the rest of it: so these are asm statements.

// The masks of a tile, as expand_row takes them: as they stand.
template <int ElementBytes>
struct tile_masks {
  const std::byte* masks;

  TEGULA_INLINE explicit tile_masks(const std::byte* at) : masks(at) {}
};

// How far masks are shifted in each lane.
template <int ElementBytes>
struct mask_shifts {
  using count = std::conditional_t<ElementBytes == 2, std::int32_t, std::int64_t>;
  alignas(64) count of[64 / sizeof(count)];

  constexpr mask_shifts() : of() {
    for (int i = 0; i < static_cast<int>(64 / sizeof(count)); ++i) of[i] = detail::mask_shift<ElementBytes>(i);
  }
};
template <int ElementBytes>
inline constexpr mask_shifts<ElementBytes> shifts_of_masks;

// A mask register from a mask in memory: broadcast, shifted, its signs read. On Sapphire Rapids that leaves port 5 to the expansion; on
// Zen 4 it is as quick as kmov.
template <int ElementBytes>
TEGULA_INLINE auto row_mask(const std::byte* mask) {
  const __m512i shifts = _mm512_load_si512(shifts_of_masks<ElementBytes>.of);
  __m512i bits;
  if constexpr (ElementBytes == 2) {
    asm("vpbroadcastd %1, %0" : "=v"(bits) : "m"(*reinterpret_cast<const std::int32_t*>(mask)));
    return _mm512_movepi16_mask(_mm512_maskz_sllv_epi32(0xffff, bits, shifts));
  } else {
    asm("vpbroadcastq %1, %0" : "=v"(bits) : "m"(*reinterpret_cast<const std::int64_t*>(mask)));
    return _mm512_movepi8_mask(_mm512_maskz_sllv_epi64(0xff, bits, shifts));
  }
}

// Row r of a tile, 64 bytes: elements, one after the other from `values`, where its mask has a bit, zeros elsewhere. In place: a
// zero-masked expansion waits for what its destination held before, and so waits for nothing but its own load.
template <int ElementBytes>
TEGULA_INLINE void expand_row(const std::byte* values, const tile_masks<ElementBytes>& tile, index_t r, vu32 (&row)[1]) {
  const auto kept = row_mask<ElementBytes>(tile.masks + r * (8 / ElementBytes));
  vu32 elements;
  __builtin_memcpy(&elements, values, sizeof elements);
  if constexpr (ElementBytes == 2) asm("vpexpandw %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  else asm("vpexpandb %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  row[0] = elements;
}
