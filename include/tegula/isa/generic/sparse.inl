// Products with a sparse panel (layout: pack/sparse_panel.hpp): a piece of K is expanded to the packed panel that it was, in memory that
// stays in L1 or L2, and the dense kernels run on that. So every mode has its kernel, and its bits.
//
// Bound of expansion, a row of 64 bytes on AVX-512: port 5, 2 cycles; the loads, one of a mask and one of values. It costs the same
// whatever the density, so memory is what sparse saves: masks and values are read once, upwards, and fetched ahead.

// What a tile's rows are expanded from: its masks as the ISA takes them, and its values.
template <class F>
struct tile_source {
  using layout = t::sparse_layout<F>;
  tile_masks<layout::rows_of::element_bytes> masks;
  const std::byte *stored_masks, *values;

  TEGULA_INLINE tile_source(const std::byte* at, index_t rows)
      : masks(at), stored_masks(at), values(at + static_cast<std::size_t>(rows) * sizeof(typename layout::mask)) {}
};

// Expands the rows of a tile, one after the other. Small, and apart from its source, so that it stays in registers.
template <class F>
class tile_expansion {
  using rows_of = t::sparse_rows<F>;
  using mask_type = typename t::sparse_layout<F>::mask;
  static constexpr int vectors = 16 / lanes;
  static constexpr int prefetch_ahead = rows_of::element_bytes == 1 ? 8192 : 4096;
  static constexpr std::uint32_t zeros = rows_of::zero * (rows_of::nibbles ? 0x11111111u : 0x01010101u);

 public:
  TEGULA_INLINE explicit tile_expansion(const tile_source<F>& source) : source_(source) {}
  // The next stored row.
  TEGULA_INLINE void next(vu32 (&row)[vectors]) {
    expand(row, 0);
    if constexpr (rows_of::nibbles) {
      vu32 high[vectors];
      expand(high, 1);
      TEGULA_UNROLL
      for (int v = 0; v < vectors; ++v) row[v] = (row[v] & 0x0f0f0f0fu) | (high[v] & 0xf0f0f0f0u);
    }
    if constexpr (zeros != 0) {
      TEGULA_UNROLL
      for (int v = 0; v < vectors; ++v) row[v] ^= zeros;
    }
  }
  TEGULA_INLINE void next(std::byte* stored) {
    vu32 row[vectors];
    next(row);
    TEGULA_UNROLL
    for (int v = 0; v < vectors; ++v) store(stored + v * lanes * 4, row[v]);
  }
  // The hardware's prefetchers do not follow uneven steps, so every other row fetches a line of what lies ahead.
  TEGULA_INLINE void prefetch() const { __builtin_prefetch(values(0) + prefetch_ahead); }
  static void fill(std::byte* stored, std::size_t bytes) { __builtin_memset(stored, static_cast<int>(zeros & 0xffu), bytes); }

 private:
  // From the values of even rows, or, of nibbles, of odd ones.
  TEGULA_INLINE void expand(vu32 (&row)[vectors], int odd) {
    mask_type mask;
    __builtin_memcpy(&mask, source_.stored_masks + row_ * static_cast<index_t>(sizeof mask), sizeof mask);
    expand_row(values(odd), source_.masks, row_++, row);
    taken_[odd] += static_cast<std::size_t>(__builtin_popcountll(mask));
  }
  [[nodiscard]] TEGULA_INLINE const std::byte* values(int odd) const { return source_.values + taken_[odd] * rows_of::element_bytes; }

  const tile_source<F>& source_;
  std::size_t taken_[2] = {};  // sums, and no pointers: an addition of its own a row would cost more than an index in each address
  index_t row_ = 0;
};

template <class F>
TEGULA_INLINE void expand_tile(const t::tile_record& record, const t::sparse_tile& tile, std::byte* stored) {
  const std::byte* at = record.at + tile.side_bytes;
  if (record.kind == t::tile_kind::full) {
    __builtin_memcpy(stored, at, tile.stored_bytes);
  } else if (record.kind == t::tile_kind::empty) {
    tile_expansion<F>::fill(stored, tile.stored_bytes);
  } else {
    const tile_source<F> source(at, tile.rows);
    tile_expansion<F> expansion(source);
    constexpr int all = t::sparse_layout<F>::stored_rows;
    if (tile.rows == t::sparse_tile_rows) {
      unrolled<all>([&](auto r) TEGULA_LAMBDA_INLINE {
        if constexpr (r() % 2 == 0) expansion.prefetch();
        expansion.next(stored + r() * t::row_bytes);
      });
    } else {
      for (std::size_t r = 0; r < tile.stored_bytes; r += t::row_bytes) expansion.next(stored + r);
    }
  }
}

// Units first .. last - 1 of a panel of K, as a packed panel of their own.
template <class F>
TEGULA_NOINLINE void expand_units(const std::byte* panel, index_t K, index_t first, index_t last, std::byte* packed) noexcept {
  for (index_t u = first; u < last; ++u) {
    const t::sparse_unit<F> unit(K, u, first);
    for (index_t i = 0; i < unit.tiles(); ++i) {
      const t::sparse_tile tile = unit.tile(i);
      const t::tile_record record(panel, tile.tile);
      if (i == 0) __builtin_memcpy(packed + tile.side_at, record.at, tile.side_bytes);
      expand_tile<F>(record, tile, packed + tile.stored_at);
    }
  }
}

// Rows of two panels, expanded where they are multiplied.
struct rows_expanded {
  tile_expansion<bf16>&first, &second;

  TEGULA_INLINE void pair(index_t k, int, vf32 (&even)[2 * panel_vectors], vf32 (&odd)[2 * panel_vectors]) const {
    expand(first, k, even, odd);
    expand(second, k, even + panel_vectors, odd + panel_vectors);
  }
  // A tile with such an end is expanded to memory, so this is never reached.
  TEGULA_INLINE void single(index_t, int, vf32 (&even)[2 * panel_vectors]) const {
    for (vf32& e : even) e = vf32{};
  }

 private:
  TEGULA_INLINE static void expand(tile_expansion<bf16>& expansion, index_t k, vf32* even, vf32* odd) {
    if (k % 4 == 0) expansion.prefetch();
    vu32 row[panel_vectors];
    expansion.next(row);
    TEGULA_UNROLL
    for (int v = 0; v < panel_vectors; ++v) weight_rows<bf16>::split(row[v], even[v], odd[v]);
  }
};

// Rows of two panels in memory.
template <class Element>
struct two_panels_in_memory {
  rows_in_memory<Element, 1> first, second;

  TEGULA_INLINE void pair(index_t k, int, vf32 (&even)[2 * panel_vectors], vf32 (&odd)[2 * panel_vectors]) const {
    vf32 evens[2][panel_vectors], odds[2][panel_vectors];
    first.pair(k, 0, evens[0], odds[0]);
    second.pair(k, 0, evens[1], odds[1]);
    TEGULA_UNROLL
    for (int v = 0; v < 2 * panel_vectors; ++v) {
      even[v] = evens[v / panel_vectors][v % panel_vectors];
      odd[v] = odds[v / panel_vectors][v % panel_vectors];
    }
  }
  TEGULA_INLINE void single(index_t k, int, vf32 (&even)[2 * panel_vectors]) const {
    vf32 evens[2][panel_vectors];
    first.single(k, 0, evens[0]);
    second.single(k, 0, evens[1]);
    TEGULA_UNROLL
    for (int v = 0; v < 2 * panel_vectors; ++v) even[v] = evens[v / panel_vectors][v % panel_vectors];
  }
};

// Float weights of two panels that float_kernel gets while they are expanded, 32 of K at a time: in registers, or, where a tile is not
// usual, in memory.
template <float_format F>
struct expanded_weights {
  static constexpr int panels = 2;
  const std::byte* panel[2];
  index_t K, unit;

  template <int, class Step>
  TEGULA_INLINE void next(Step step) {
    const t::sparse_tile tile = t::sparse_unit<F>(K, unit, unit).tile(0);
    const t::tile_record records[2]{{panel[0], unit}, {panel[1], unit}};
    ++unit;
    if constexpr (std::is_same_v<F, bf16>)
      if (records[0].kind == t::tile_kind::sparse && records[1].kind == t::tile_kind::sparse && K >= 32 * unit) {
        const tile_source<F> sources[2]{{records[0].at, t::sparse_tile_rows}, {records[1].at, t::sparse_tile_rows}};
        tile_expansion<F> first(sources[0]), second(sources[1]);
        return step(rows_expanded{first, second});
      }
    alignas(64) std::byte stored[2][t::sparse_layout<F>::tile_bytes];
    for (int i = 0; i < 2; ++i) expand_tile<F>(records[i], tile, stored[i]);
    using rows = rows_in_memory<typename F::element, 1>;
    step(two_panels_in_memory<typename F::element>{rows{stored[0]}, rows{stored[1]}});
  }
};

// Few rows of A, float weights: expanded and multiplied in one pass.
template <float_format F>
TEGULA_INLINE void exact_from_sparse(const block_product& p) {
  const std::byte* first = t::sparse_panel_at(p.panel, 0);
  const expanded_weights<F> weights{{first, p.panels > 1 ? t::sparse_panel_at(p.panel, 1) : first}, p.K, 0};
  p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
    for_each_strip<sparse_rows_at_once, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
      float_kernel<float, mr()>(block.tiles + m * t::row_bytes, block.tile_stride(), 0, p.K, weights, c + m * t::NR);
    });
  });
}
