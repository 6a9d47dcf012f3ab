// Rows of a sparse tile (pack/sparse_panel.hpp) by vpexpandw and vpexpandb. Included inside namespace tegula::avx512.
//
// VBMI2, GFNI and VPOPCNTDQ are not among the features that this region is compiled for, since CPUs without them run the rest of it: so
// these are asm statements.

// Elements, one after the other from `values`, where `kept` has a bit, zeros elsewhere. Half: at most half of them. In place: a zero-masked
// expansion waits for what its destination held before, and so waits for nothing but its own load.
template <int ElementBytes, bool Half, class Mask>
TEGULA_INLINE void expand_row(const std::byte* values, Mask kept, vu32 (&row)[1]) {
  vu32 elements;
  if constexpr (Half) {  // becomes one load; g++ 12 warns of its own way to widen a vector
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(values));
    elements = vu32(_mm512_maskz_inserti64x4(0xff, __m512i{}, half, 0));
  } else {
    __builtin_memcpy(&elements, values, sizeof elements);
  }
  if constexpr (ElementBytes == 2) asm("vpexpandw %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  else asm("vpexpandb %0, %0%{%1%}%{z%}" : "+v"(elements) : "Yk"(kept));
  row[0] = elements;
}

// Masks from the registers in which their bits are counted.
template <int ElementBytes>
struct counted_masks {
  using mask = std::conditional_t<ElementBytes == 2, __mmask32, __mmask64>;

  TEGULA_INLINE counted_masks(const std::byte*, std::byte*) {}
  TEGULA_INLINE mask operator()(index_t, std::uint64_t& counted) const {
    asm("" : "+r"(counted));  // loaded once for both uses
    mask kept;
    if constexpr (ElementBytes == 2) asm("kmovd %1, %0" : "=Yk"(kept) : "r"(static_cast<std::uint32_t>(counted)));
    else asm("kmovq %1, %0" : "=Yk"(kept) : "r"(counted));
    return kept;
  }
};

// Masks by way of a vector's signs, which leaves port 5 of a Sapphire Rapids to the expansion. All masks of a tile are transposed at once,
// as matrices of 8 x 8 bits: then bits lie as far apart as lanes that are shifted alike have their signs. A matrix of words is two rows.
template <int ElementBytes>
class transposed_masks {
  using lane = std::conditional_t<ElementBytes == 2, std::uint32_t, std::uint64_t>;
  static constexpr int bytes = 16 * 8 / ElementBytes, rows_of_matrix = ElementBytes == 2 ? 2 : 1, lanes_of_row = 64 / sizeof(lane);

  // Which bits of a matrix's bytes become the bytes of the transposed one: of words, those of two neighbours 16 bits apart. How far each
  // lane is shifted, by row of the matrix.
  struct tables {
    alignas(64) std::uint8_t columns[64];
    alignas(64) lane shifts[rows_of_matrix][lanes_of_row];

    constexpr tables() : columns(), shifts() {
      constexpr int order[]{0, 4, 1, 5, 2, 6, 3, 7};
      for (int i = 0; i < 64; ++i) columns[i] = static_cast<std::uint8_t>(1 << (ElementBytes == 2 ? order[i % 8] : i % 8));
      for (int r = 0; r < rows_of_matrix; ++r)
        for (int i = 0; i < lanes_of_row; ++i) shifts[r][i] = static_cast<lane>(ElementBytes == 2 ? 8 - i / 2 % 2 * 8 + r * 4 + i / 4 : i);
    }
  };
  static constexpr tables of{};

 public:
  // They stand, until the rows are there, at the end of what is expanded.
  TEGULA_INLINE transposed_masks(const std::byte* masks, std::byte* end) : matrices_(end - bytes), bits_() {
    const __m512i columns = _mm512_load_si512(of.columns);
    TEGULA_UNROLL
    for (int i = 0; i < bytes; i += 64) {
      __m512i transposed;
      asm("vgf2p8affineqb $0, %2, %1, %0" : "=v"(transposed) : "v"(columns), "m"(*reinterpret_cast<const __m512i_u*>(masks + i)));
      _mm512_storeu_si512(end - bytes + i, transposed);
    }
  }
  TEGULA_INLINE auto operator()(index_t r, std::uint64_t) {
    if (r % rows_of_matrix == 0)
      asm("vpbroadcastq %1, %0" : "=v"(bits_) : "m"(*reinterpret_cast<const std::int64_t*>(matrices_ + r / rows_of_matrix * 8)));
    const __m512i shifts = _mm512_load_si512(of.shifts[r % rows_of_matrix]);
    if constexpr (ElementBytes == 2) return _mm512_movepi16_mask(_mm512_maskz_sllv_epi32(0xffff, bits_, shifts));
    else return _mm512_movepi8_mask(_mm512_maskz_sllv_epi64(0xff, bits_, shifts));
  }

 private:
  const std::byte* matrices_;
  __m512i bits_;
};

// Products in between take port 0 as well: there by kmov, which on Zen 5 is faster too.
template <int ElementBytes, bool Multiplied>
using row_masks = std::conditional_t<Multiplied, counted_masks<ElementBytes>, transposed_masks<ElementBytes>>;

// Half a vector crosses a line half as often as a whole one; where it does, Zen 5 loads twice. With more rows of A, or nibbles, that gains
// nothing.
template <class F>
inline constexpr int sized_rows = detail::sparse_rows<F>::nibbles ? 0 : float_format<F> ? 1 : 2;
template <int ElementBytes>
TEGULA_INLINE bool keeps_halves(const std::byte* masks) {
  const auto* at = reinterpret_cast<const __m512i_u*>(masks);
  __m512i kept;
  if constexpr (ElementBytes == 2) {
    asm("vpopcntd %1, %0" : "=v"(kept) : "m"(at[0]));
    return _mm512_cmpgt_epu32_mask(kept, _mm512_set1_epi32(16)) == 0;
  } else {
    __m512i of_last_rows;
    asm("vpopcntq %1, %0" : "=v"(kept) : "m"(at[0]));
    asm("vpopcntq %1, %0" : "=v"(of_last_rows) : "m"(at[1]));
    const __m512i half = _mm512_set1_epi64(32);
    return (_mm512_cmpgt_epu64_mask(kept, half) | _mm512_cmpgt_epu64_mask(of_last_rows, half)) == 0;
  }
}

template <class F>
inline constexpr int expanded_rows = byte_format<F> ? byte_rows : 4;
inline constexpr int expanded_strip = 4, expanded_panels = 2;
template <class>
inline constexpr bool has_float_products = true;

// The two rows of f16 that a row of a sparse tile is.
TEGULA_INLINE void widen_rows(vu32 row, vf32& even, vf32& odd) {
  __m256i halves;  // g++ 12 warns of its own cast to that
  __builtin_memcpy(&halves, &row, sizeof halves);
  even = vf32(_mm512_maskz_cvtph_ps(0xffff, halves));
  odd = vf32(_mm512_maskz_cvtph_ps(0xffff, _mm512_maskz_extracti64x4_epi64(0xf, __m512i(row), 1)));
}

// e and o (float.inl) of MR rows of A and a panel. Registers: 2 MR sums a panel, two of A. Bound on Zen 5 of a row at MR = 1: operations,
// 2.4 cycles, as a mask's move shares its pipes with the expansion; loads, of values up to two, of a mask and half of A's two, 2 cycles.
template <class F, int MR, bool Half>
class float_products {
 public:
  // Adds those of a row of a tile. a: two floats of the first row of A.
  TEGULA_INLINE void add(const std::byte* values, __mmask32 kept, const std::byte* a) {
    vu32 row[1];
    expand_row<2, Half>(values, kept, row);
    hold(row[0]);
    vf32 w_even, w_odd;
    if constexpr (std::is_same_v<F, bf16>) {
      w_even = vf32(row[0] << 16);
      w_odd = vf32(row[0] & 0xffff0000u);
    } else {
      widen_rows(row[0], w_even, w_odd);
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
