// B of sparse panels (pack/sparse_panel.hpp): expanded into the tiles of the next unit of K, eight rows a step, between products like all
// unpacking. Included inside namespace tegula::amx and its target region.
//
// Bound, cycles per 8 rows of 64 bytes: 16 of ports 0 and 5, two uops each a row, whatever the density.

// Panel i of a sparse product; the first in place of one that is not there.
TEGULA_INLINE const std::byte* sparse_panel_of(const block_product& p, index_t i) {
  return t::sparse_panel_at(p.panel, i < p.panels ? i : 0);
}

// A row of a tile as what a kernel multiplies.
struct as_stored {
  TEGULA_INLINE static vu32 row(vu32 stored) { return stored; }
};
struct halves_as_pairs {
  TEGULA_INLINE static vu32 row(vu32 stored) {
    const __m512i words = __m512i(stored);
    const __m256i even = _mm512_castsi512_si256(words), odd = _mm512_maskz_extracti64x4_epi64(0xf, words, 1);
    return hardware_rounding::pair(vf32(_mm512_maskz_cvtph_ps(0xffff, even)), vf32(_mm512_maskz_cvtph_ps(0xffff, odd)));
  }
};

// Half a tile that is empty or full, or has fewer rows: zeros behind K.
template <class F, class Form>
TEGULA_NOINLINE void expand_other_half(t::tile_record record, t::sparse_tile tile, index_t half, std::byte* out) noexcept {
  alignas(64) std::byte stored[t::sparse_layout<F>::tile_bytes] = {};
  expand_tile<F>(record, tile, stored);
  for (index_t at = 0; at < tile_bytes / 2; at += tile_row_bytes)
    store(out + at, Form::row(load<vu32>(stored + half * tile_bytes / 2 + at)));
}

// Expands the tiles of a panel, half a tile a step, in order.
template <class F, class Form>
class tile_halves {
  using layout = t::sparse_layout<F>;
  using masks = tile_masks<layout::rows_of::element_bytes>;
  static constexpr int rows = t::sparse_tile_rows / 2;

 public:
  TEGULA_INLINE void step(const std::byte* panel, index_t K, index_t tile, index_t half, std::byte* out) {
    const index_t unit = tile / layout::unit_tiles;
    const t::sparse_tile place = t::sparse_unit<F>(K, unit, unit).tile(tile % layout::unit_tiles);
    const t::tile_record record(panel, tile);
    if (record.kind != t::tile_kind::sparse || place.rows < t::sparse_tile_rows)
      return expand_other_half<F, Form>(record, place, half, out);
    const std::byte* at = record.at + place.side_bytes;
    const tile_source<F> source(at + half * rows * masks::mask_bytes, half == 0 ? at + t::sparse_tile_rows * masks::mask_bytes : values_);
    tile_expansion<F> expansion(source);
    unrolled<rows>([&](auto r) TEGULA_LAMBDA_INLINE {
      if constexpr (r() % 2 == 0) expansion.prefetch();
      vu32 row[1];
      expansion.next(row);
      store(out + r() * tile_row_bytes, Form::row(row[0]));
    });
    values_ = expansion.values();
  }

 private:
  const std::byte* values_ = nullptr;  // of a second half
};

// The pairs of two panels of floats, 16 k of a panel a step.
template <float_format F>
struct sparse_pairs {
  tile_halves<F, std::conditional_t<std::is_same_v<F, bf16>, as_stored, halves_as_pairs>> halves;

  TEGULA_INLINE static bool in_place(index_t) { return false; }
  TEGULA_INLINE static const std::byte* panel(const block_product& p, index_t i) { return sparse_panel_of(p, i); }
  TEGULA_INLINE void unpack(const std::byte* panel, index_t K, index_t k, std::byte* out) {
    halves.step(panel, K, k / 32, k / 16 % 2, out);
  }
};
