// Rows of a sparse tile (pack/sparse_panel.hpp) by vpexpandw and vpexpandb. Included inside namespace tegula::avx512.
//
// VBMI2 is not among the features that this region is compiled for, since CPUs without it run the rest of it: so these are asm statements.

// The masks of a tile, as expand_row takes them: as they stand.
template <int ElementBytes>
struct tile_masks {
  const std::byte* masks;

  TEGULA_INLINE explicit tile_masks(const std::byte* at) : masks(at) {}
};

// How far masks are shifted in each lane, and the bits that this brings to the signs.
template <int ElementBytes>
struct mask_shifts {
  using lane = std::conditional_t<ElementBytes == 2, std::uint32_t, std::uint64_t>;
  static constexpr int count = 64 / sizeof(lane);
  static constexpr lane signs = static_cast<lane>(ElementBytes == 2 ? 0x80008000 : 0x8080808080808080);
  alignas(64) lane of[count], bits[count];

  constexpr mask_shifts() : of(), bits() {
    for (int i = 0; i < count; ++i) {
      of[i] = static_cast<lane>(detail::mask_shift<ElementBytes>(i));
      bits[i] = signs >> of[i];
    }
  }
};
template <int ElementBytes>
inline constexpr mask_shifts<ElementBytes> shifts_of_masks;

// A mask register from a mask in memory: broadcast, shifted, its signs read. On Sapphire Rapids that leaves port 5 to the expansion. Where
// products take port 0 as well, each element's bit is tested instead, an operation less; masks of bytes come from the register in which
// their bits are counted, a load less. (Zen 5, bytes: 0.70 to 0.63 ns a row. kmov would need masks in another order: to transpose them a
// tile at a time takes what it saves.)
template <int ElementBytes, bool Multiplied>
TEGULA_INLINE auto row_mask(const std::byte* mask) {
  const auto& shifts = shifts_of_masks<ElementBytes>;
  __m512i bits;
  if constexpr (ElementBytes == 2) {
    asm("vpbroadcastd %1, %0" : "=v"(bits) : "m"(*reinterpret_cast<const std::int32_t*>(mask)));
    if constexpr (Multiplied) return _mm512_test_epi16_mask(bits, _mm512_load_si512(shifts.bits));
    else return _mm512_movepi16_mask(_mm512_maskz_sllv_epi32(0xffff, bits, _mm512_load_si512(shifts.of)));
  } else if constexpr (Multiplied) {
    std::uint64_t counted;
    __builtin_memcpy(&counted, mask, sizeof counted);
    asm("vpbroadcastq %1, %0" : "=v"(bits) : "r"(counted));
    return _mm512_test_epi8_mask(bits, _mm512_load_si512(shifts.bits));
  } else {
    asm("vpbroadcastq %1, %0" : "=v"(bits) : "m"(*reinterpret_cast<const std::int64_t*>(mask)));
    return _mm512_movepi8_mask(_mm512_maskz_sllv_epi64(0xff, bits, _mm512_load_si512(shifts.of)));
  }
}

// Row r of a tile, 64 bytes: elements, one after the other from `values`, where its mask has a bit, zeros elsewhere. In place: a
// zero-masked expansion waits for what its destination held before, and so waits for nothing but its own load.
template <int ElementBytes, bool Multiplied = false>
TEGULA_INLINE void expand_row(const std::byte* values, const tile_masks<ElementBytes>& tile, index_t r, vu32 (&row)[1]) {
  const auto kept = row_mask<ElementBytes, Multiplied>(tile.masks + r * (8 / ElementBytes));
  vu32 elements;
  __builtin_memcpy(&elements, values, sizeof elements);
  if constexpr (ElementBytes == 2) asm("vpexpandw %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  else asm("vpexpandb %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  row[0] = elements;
}

template <class F>
inline constexpr int expanded_rows = byte_format<F> ? byte_rows : 4;
inline constexpr int expanded_strip = 4, expanded_panels = 2;
template <class>
inline constexpr bool has_float_products = true;

// e and o (float.inl) of MR rows of A and a panel. Registers: 2 MR sums a panel, two of A. Bound on Zen 5 of a row at MR = 1: the loads, of
// values two, as they cross lines, of a mask and half of A's two, 2 cycles; as many operations, on four pipes.
template <class F, int MR>
class float_products {
 public:
  // Adds those of row r of a tile, whose values are kept from `values` on. a: two floats of the first row of A.
  TEGULA_INLINE void add(const std::byte* values, const tile_masks<2>& tile, index_t r, const std::byte* a) {
    vu32 row[1];
    expand_row<2, true>(values, tile, r, row);
    hold(row[0]);
    vf32 w_even, w_odd;
    if constexpr (std::is_same_v<F, bf16>) {
      w_even = vf32(row[0] << 16);
      w_odd = vf32(row[0] & 0xffff0000u);
    } else {
      __m256i halves;  // g++ 12 warns of its own cast to that
      __builtin_memcpy(&halves, &row[0], sizeof halves);
      w_even = vf32(_mm512_maskz_cvtph_ps(0xffff, halves));
      w_odd = vf32(_mm512_maskz_cvtph_ps(0xffff, _mm512_maskz_extracti64x4_epi64(0xf, __m512i(row[0]), 1)));
    }
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      float pair[2];
      __builtin_memcpy(pair, a + m * detail::row_bytes, sizeof pair);
      even_[m] = fma(splat(pair[0]), w_even, even_[m]);
      odd_[m] = fma(splat(pair[1]), w_odd, odd_[m]);
    }
  }
  // e + o of row m.
  [[nodiscard]] TEGULA_INLINE vf32 total(int m, int) const { return even_[m] + odd_[m]; }

 private:
  vf32 even_[MR] = {}, odd_[MR] = {};
};
