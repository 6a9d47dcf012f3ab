// Rows of a sparse tile (pack/sparse_panel.hpp), their masks brought to mask registers through port 0: a kmov takes port 5, of which
// vpexpand needs two cycles a row. So a row takes 2 cycles instead of 3, and needs its mask as it is stored. (Where that does not hold,
// avx512's tile_masks and expand_row in place of these are the other way.) Included inside namespace tegula::amx and its target region.

template <int ElementBytes>
struct tile_masks {
  static constexpr int mask_bytes = 8 / ElementBytes;
  const std::byte* stored;
  vu32 shifts;

  TEGULA_INLINE explicit tile_masks(const std::byte* masks) : stored(masks), shifts(load<vu32>(shift_of_lane.of)) {
    asm("" : "+v"(shifts));  // stays in a register: as an operand from memory it would cost each row a load
  }
  [[nodiscard]] TEGULA_INLINE auto operator[](index_t r) const {
    vu32 mask;
    const std::byte* at = stored + r * mask_bytes;
    if constexpr (ElementBytes == 2) {
      asm("vpbroadcastd %1, %0" : "=v"(mask) : "m"(*reinterpret_cast<const std::uint32_t*>(at)));
      return _mm512_movepi16_mask(_mm512_sllv_epi32(__m512i(mask), __m512i(shifts)));
    } else {
      asm("vpbroadcastq %1, %0" : "=v"(mask) : "m"(*reinterpret_cast<const std::uint64_t*>(at)));
      return _mm512_movepi8_mask(_mm512_sllv_epi64(__m512i(mask), __m512i(shifts)));
    }
  }

 private:
  using lane = std::conditional_t<ElementBytes == 2, std::uint32_t, std::uint64_t>;
  struct lane_shifts {
    alignas(64) lane of[64 / sizeof(lane)] = {};
    constexpr lane_shifts() {
      for (int i = 0; i < static_cast<int>(64 / sizeof(lane)); ++i) of[i] = static_cast<lane>(t::mask_shift<ElementBytes>(i));
    }
  };
  static constexpr lane_shifts shift_of_lane;
};

template <int ElementBytes>
TEGULA_INLINE void expand_row(const std::byte* values, const tile_masks<ElementBytes>& masks, index_t r, vu32 (&row)[1]) {
  row[0] = expand(load<vu32>(values), masks[r]);
}
