// B of sparse panels (pack/sparse_panel.hpp): expanded into the tiles of the next unit of K, a tile a step, between products like all
// unpacking. Included inside namespace tegula::amx and its target region.
//
// Bound, cycles per tile of 16 rows, whatever its density: port 0 33 of words and 34 of bytes, two uops a row and those that transpose
// masks; port 5 32; front end 26.

// Panel i of a sparse product; the first in place of one that is not there.
TEGULA_INLINE const std::byte* sparse_panel_of(const block_product& p, index_t i) {
  return t::sparse_panel_at(p.panel, i < p.panels ? i : 0);
}

// Rows of a sparse panel as rows of B.
struct as_stored {
  TEGULA_INLINE static vu32 row(vu32 stored) { return stored; }
};
struct halves_as_pairs {
  TEGULA_INLINE static vu32 row(vu32 stored) {
    vf32 even;
    asm("vcvtph2ps %t1, %0" : "=v"(even) : "v"(stored));  // of the low half; g++ 12 warns of its own cast to that
    const __m256i odd = _mm512_maskz_extracti64x4_epi64(0xf, __m512i(stored), 1);
    return hardware_rounding::pair(even, vf32(_mm512_maskz_cvtph_ps(0xffff, odd)));
  }
};

template <class F>
inline constexpr index_t sparse_tile_k = t::sparse_tile_rows * t::sparse_rows<F>::row_k;

// A tile that is empty or full, or has fewer rows, or none: zeros behind K.
template <class F, class Form>
TEGULA_NOINLINE void expand_other_to_b(const std::byte* panel, index_t K, index_t tile, std::byte* b) noexcept {
  using layout = t::sparse_layout<F>;
  if (tile * sparse_tile_k<F> >= K) return;
  const index_t unit = tile / layout::unit_tiles;
  alignas(64) std::byte stored[layout::tile_bytes] = {};
  expand_tile<F>(t::tile_record(panel, tile), t::sparse_unit<F>(K, unit, unit).tile(tile % layout::unit_tiles), stored);
  for (index_t at = 0; at < tile_bytes; at += tile_row_bytes) store(b + at, Form::row(load<vu32>(stored + at)));
}

// Tile `tile` of a panel of K, with its side fields in front of it. What precedes the rows counts: the front end is nearly the bound.
template <class F, class Form>
TEGULA_INLINE void expand_to_b(const std::byte* panel, index_t K, index_t tile, std::size_t side_bytes, std::byte* b) {
  constexpr bool all_whole = t::traits<F>::block_k % t::sparse_layout<F>::unit_k == 0;
  if (!all_whole && K < (tile + 1) * sparse_tile_k<F>) return expand_other_to_b<F, Form>(panel, K, tile, b);
  const t::tile_record record(panel, tile);
  if (record.kind != t::tile_kind::sparse) return expand_other_to_b<F, Form>(panel, K, tile, b);
  const tile_source<F> source(record.at + side_bytes, t::sparse_tile_rows, b + tile_bytes);
  tile_expansion<F> expansion(source);
  unrolled<tile_rows>([&](auto r) TEGULA_LAMBDA_INLINE {
    if constexpr (r() % 4 == 0) expansion.prefetch();  // of the lines the CPU fetches pairs
    vu32 row[1];
    expansion.next(row);
    store(b + r() * tile_row_bytes, Form::row(row[0]));
  });
}

// The pairs of two panels of floats.
template <float_format F>
struct sparse_pairs {
  static constexpr index_t step_k = sparse_tile_k<F>;
  using form = std::conditional_t<std::is_same_v<F, bf16>, as_stored, halves_as_pairs>;
  const std::byte* panel_at_work = nullptr;

  TEGULA_INLINE static bool in_place(index_t) { return false; }
  TEGULA_INLINE static const std::byte* panel(const block_product& p, index_t i) { return sparse_panel_of(p, i); }
  TEGULA_INLINE void step(const block_product& p, index_t i, index_t k, bool first, std::byte* out) {
    if (first) panel_at_work = sparse_panel_of(p, i);
    expand_to_b<F, form>(panel_at_work, p.K, k / step_k, 0, out);
  }
};
template <float_format F>
struct sparse_bf16_kernel : bf16_kernel<F, sparse_pairs<F>> {};

// The bytes and scales of two panels.
template <byte_format F>
struct sparse_bytes {
  static constexpr unsigned steps = t::scale_k / sparse_tile_k<F>;
  static constexpr index_t panel_bytes = t::scale_k * t::NR;
  struct tiles {
    alignas(64) std::byte bytes[2 * panel_bytes];
    byte_tile_scales scales;
  };
  const std::byte* panel_at_work = nullptr;

  TEGULA_INLINE static const std::byte* bytes(const block_product&, index_t, index_t panel, const tiles& b) {
    return b.bytes + panel * panel_bytes;
  }
  TEGULA_INLINE void step(const block_product& p, index_t unit, index_t i, tiles& b) {
    const unsigned within = static_cast<unsigned>(i) % steps, panel = static_cast<unsigned>(i) / steps;
    const index_t tile = unit * steps + within;
    std::size_t side_bytes = 0;
    if (within == 0) {
      panel_at_work = sparse_panel_of(p, panel);
      side_bytes = t::sparse_rows<F>::side_bytes(t::scale_k);
      store(b.scales.of[panel], load<vf32>(t::tile_record(panel_at_work, tile).at));
    }
    expand_to_b<F, as_stored>(panel_at_work, p.K, tile, side_bytes, b.bytes + i * tile_bytes);
  }
};
template <byte_format F>
struct sparse_byte_kernel : byte_kernel<F, sparse_bytes<F>> {};
