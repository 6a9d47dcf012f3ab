// Rows of a sparse tile (pack/sparse_panel.hpp) by vpexpandw and vpexpandb. Included inside namespace tegula::avx512.
//
// VBMI2 and GFNI are not among the features that this region is compiled for, since CPUs without them run the rest of it: so they are asm.

// x's bits in each byte, permuted: bit k becomes the parity of byte 7 - k of `matrix` and x.
TEGULA_INLINE vu32 affine(vu32 x, vu32 matrix) {
  asm("vgf2p8affineqb $0, %1, %0, %0" : "+v"(x) : "v"(matrix));
  return x;
}
TEGULA_INLINE vu32 splat_64(std::uint64_t x) { return vu32(_mm512_set1_epi64(static_cast<long long>(x))); }

// The masks of a tile, their bits in the order of elements.
template <int ElementBytes>
struct tile_masks {
  static constexpr int mask_bytes = 8 / ElementBytes;
  alignas(64) std::byte masks[16 * mask_bytes];

  TEGULA_INLINE explicit tile_masks(const std::byte* stored) {
    TEGULA_UNROLL
    for (int i = 0; i < 16 * mask_bytes; i += 64) store_64(masks + i, in_order(load_64(stored + i)));
  }

 private:
  TEGULA_INLINE static vu32 load_64(const std::byte* p) { return vu32(_mm512_loadu_si512(p)); }
  TEGULA_INLINE static void store_64(std::byte* p, vu32 x) { _mm512_store_si512(p, __m512i(x)); }
  TEGULA_INLINE static vu32 in_order(vu32 x) {
    if constexpr (ElementBytes == 2) {  // nibbles of even elements and of odd ones, halves apart, become neighbours; then their bits
      const vu32 nibbles = (x & 0xf0f00f0fu) | ((x >> 12) & 0x0000f0f0u) | ((x << 12) & 0x0f0f0000u);
      return affine(nibbles, splat_64(0x0110022004400880u));
    } else {  // a transposition of 8 x 8 bits leaves each byte's bits in reverse
      return affine(affine(splat_64(0x0102040810204080u), x), splat_64(0x8040201008040201u));
    }
  }
};

// Elements to where bits of a mask are set. In place: a zero-masked expansion waits for what its destination held before, and so waits for
// nothing but its own load.
TEGULA_INLINE vu32 expand(vu32 elements, __mmask32 kept) {
  asm("vpexpandw %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  return elements;
}
TEGULA_INLINE vu32 expand(vu32 elements, __mmask64 kept) {
  asm("vpexpandb %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  return elements;
}

template <int ElementBytes>
TEGULA_INLINE void expand_row(const std::byte* values, const tile_masks<ElementBytes>& tile, index_t r, vu32 (&row)[1]) {
  const std::byte* mask = tile.masks + r * tile.mask_bytes;
  vu32 elements;
  __builtin_memcpy(&elements, values, sizeof elements);
  if constexpr (ElementBytes == 2) {
    __mmask32 kept;
    asm("kmovd %1, %0" : "=k"(kept) : "m"(*reinterpret_cast<const std::uint32_t*>(mask)));
    row[0] = expand(elements, kept);
  } else {
    __mmask64 kept;
    asm("kmovq %1, %0" : "=k"(kept) : "m"(*reinterpret_cast<const std::uint64_t*>(mask)));
    row[0] = expand(elements, kept);
  }
}
