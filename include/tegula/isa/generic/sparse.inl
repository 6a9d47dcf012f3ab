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

inline constexpr index_t sparse_prefetch_ahead = 4096;

// Expands the rows of a tile, one after the other. Small, and apart from its source, so that it stays in registers.
template <class F>
class tile_expansion {
  using rows_of = t::sparse_rows<F>;
  using mask_type = typename t::sparse_layout<F>::mask;
  static constexpr int vectors = 16 / lanes;
  static constexpr std::uint32_t zeros = rows_of::zero * (rows_of::nibbles ? 0x11111111u : 0x01010101u);

 public:
  // Ahead: from what is read to what is fetched.
  TEGULA_INLINE explicit tile_expansion(const tile_source<F>& source, index_t ahead = sparse_prefetch_ahead)
      : source_(source), ahead_(ahead) {}
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
  TEGULA_INLINE void prefetch() const { __builtin_prefetch(values(0) + ahead_); }
  // expand(values, masks, r) for the next row of words or bytes, from the values of even rows, or, of nibbles, of odd ones.
  template <class Expand>
  TEGULA_INLINE void next_row(int odd, Expand expand) {
    mask_type mask;
    __builtin_memcpy(&mask, source_.stored_masks + row_ * static_cast<index_t>(sizeof mask), sizeof mask);
    expand(values(odd), source_.masks, row_++);
    taken_[odd] += static_cast<std::size_t>(__builtin_popcountll(mask));
  }
  static void fill(std::byte* stored, std::size_t bytes) { __builtin_memset(stored, static_cast<int>(zeros & 0xffu), bytes); }

 private:
  TEGULA_INLINE void expand(vu32 (&row)[vectors], int odd) {
    next_row(odd, [&](const std::byte* values, const auto& masks, index_t r) TEGULA_LAMBDA_INLINE {
      expand_row(values, masks, r, row);
    });
  }
  [[nodiscard]] TEGULA_INLINE const std::byte* values(int odd) const { return source_.values + taken_[odd] * rows_of::element_bytes; }

  const tile_source<F>& source_;
  index_t ahead_;
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

// Panels that are read side by side, and where their values are fetched: behind a panel's end goes on the one of the next round, while what
// lies there is another's. (Else a quarter of the lines would be missed, at 90 % zeros and K = 4096.)
class sparse_streams {
 public:
  // From panel `first` of a product on; its last one in place of those that are not there.
  TEGULA_INLINE sparse_streams(const block_product& p, int first) {
    const index_t behind = p.panels - first + p.following;
    for (int i = 0; i < expanded_panels; ++i) {
      const index_t own = first + (i < behind ? i : behind - 1);
      of_[i] = {t::sparse_panel_at(p.panel, own), PTRDIFF_MAX, sparse_prefetch_ahead};
      if (i + expanded_panels >= behind) continue;
      const std::byte *end = t::sparse_panel_at(p.panel, own + 1), *next = t::sparse_panel_at(p.panel, own + expanded_panels);
      of_[i].turn = end - of_[i].panel - sparse_prefetch_ahead;
      of_[i].ahead_from_turn = next - end + sparse_prefetch_ahead;
    }
  }
  [[nodiscard]] TEGULA_INLINE const std::byte* panel(std::size_t i) const { return of_[i].panel; }
  // From a tile's record in panel i to what is fetched with it.
  [[nodiscard]] TEGULA_INLINE index_t ahead_of(std::size_t i, const std::byte* at) const {
    return at - of_[i].panel < of_[i].turn ? sparse_prefetch_ahead : of_[i].ahead_from_turn;
  }

 private:
  struct stream {
    const std::byte* panel;
    index_t turn, ahead_from_turn;
  };
  stream of_[expanded_panels];
};

// Adds to C[MR][NR] what total(m, v) has for its vectors.
template <int MR, class Total>
TEGULA_INLINE void add_totals(float* c, Total total) {
  for_each_vector<MR, panel_vectors>(
      c, [&](int m, int v, float* at) TEGULA_LAMBDA_INLINE { store(at, load<vf32>(at) + total(m, v)); });
}

// C[MR][NR] += the products of a tile that is expanded to memory: of one that is full or empty or ends K, `count` from its start.
template <float_format F, int MR>
TEGULA_NOINLINE void multiply_stored_tile(const std::byte* tiles, index_t tile_stride, const t::tile_record& record, index_t count,
                                          float* c) noexcept {
  alignas(64) std::byte stored[t::sparse_layout<F>::tile_bytes];
  expand_tile<F>(record, t::sparse_unit<F>(count, 0, 0).tile(0), stored);
  float_sums<MR, panel_vectors> sums;
  multiply_32<float>(tiles, tile_stride, count, 0, rows_in_memory<typename F::element, 1>{stored}, sums);
  add_totals<MR>(c, [&](int m, int v) TEGULA_LAMBDA_INLINE { return sums.even[m][v] + sums.odd[m][v]; });
}

// C[panel][MR][NR] += the products of tiles of expanded_panels panels, side by side.
template <float_format F, int MR>
TEGULA_INLINE void multiply_sparse_tiles(const std::byte* tiles, index_t tile_stride,
                                         const t::tile_record (&records)[expanded_panels], const sparse_streams& streams, float* c) {
  [&]<std::size_t... I>(std::index_sequence<I...>) TEGULA_LAMBDA_INLINE {
    const tile_source<F> sources[]{tile_source<F>(records[I].at, t::sparse_tile_rows)...};
    tile_expansion<F> expansions[]{tile_expansion<F>(sources[I], streams.ahead_of(I, records[I].at))...};
    float_products<F, MR> products[expanded_panels];
    unrolled<t::sparse_tile_rows>([&](auto row) TEGULA_LAMBDA_INLINE {
      constexpr int tile_rows = activation_rows<float>::tile_k / 2;
      const std::byte* a = (row() < tile_rows ? tiles : tiles + tile_stride) + row() % tile_rows * 8;
      unrolled<expanded_panels>([&](auto i) TEGULA_LAMBDA_INLINE {
        if constexpr (row() % 2 == 0) expansions[i()].prefetch();
        expansions[i()].next_row(0, [&](const std::byte* values, const auto& masks, index_t r) TEGULA_LAMBDA_INLINE {
          products[i()].add(values, masks, r, a);
        });
      });
    });
    (add_totals<MR>(c + I * c_stride, [&](int m, int v) TEGULA_LAMBDA_INLINE { return products[I].total(m, v); }), ...);
  }(std::make_index_sequence<expanded_panels>{});
}

// C[panel][MR][NR] += A[MR][K] * expanded_panels panels of floats, expanded and multiplied in one pass.
template <float_format F, int MR>
TEGULA_NOINLINE void sparse_float_kernel(const std::byte* tiles, index_t tile_stride, const sparse_streams& streams, index_t K,
                                         float* c) noexcept {
  [&]<std::size_t... I>(std::index_sequence<I...>) TEGULA_LAMBDA_INLINE {
    for (index_t k = 0; k < K; k += 32, tiles += 32 / activation_rows<float>::tile_k * tile_stride) {
      const t::tile_record records[]{t::tile_record(streams.panel(I), k / 32)...};
      const bool sparse = ((records[I].kind == t::tile_kind::sparse) && ...);
      if constexpr (has_float_products<F>)
        if (sparse && K - k >= 32) {
          multiply_sparse_tiles<F, MR>(tiles, tile_stride, records, streams, c);
          continue;
        }
      const index_t count = K - k < 32 ? K - k : 32;
      (multiply_stored_tile<F, MR>(tiles, tile_stride, records[I], count, c + I * c_stride), ...);
    }
  }(std::make_index_sequence<expanded_panels>{});
}

// Few rows of A, float weights.
template <float_format F, int Strip>
TEGULA_INLINE void float_from_sparse(const block_product& p) {
  for (int i = 0; i < p.panels; i += expanded_panels) {
    const sparse_streams streams(p, i);
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      for_each_strip<Strip, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
        sparse_float_kernel<F, mr()>(block.tiles + m * t::row_bytes, block.tile_stride(), streams, p.K, c + i * c_stride + m * t::NR);
      });
    });
  }
}

// Of K at a time: with few rows of A what the kernel multiplies while the next rows are expanded, with more what stays in L2.
inline constexpr index_t sparse_piece_k = 256, sparse_chunk_k = 1024, sparse_piece_rows = 8;

// Two panels at a time. Dense: the macro-kernel of packed panels, and how many it takes.
template <class F, class Dense>
TEGULA_NOINLINE void sparse_macrokernel(const block_product& p) noexcept {
  using layout = t::sparse_layout<F>;
  if constexpr (float_format<F> && expanded_rows<F> > 0 && std::is_same_v<Dense, macrokernel_of<F, compute::exact>>)
    if (p.rows() <= expanded_rows<F>) return float_from_sparse<F, expanded_strip>(p);
  alignas(64) std::byte packed[Dense::panels * t::panel_layout<F>::panel_bytes(sparse_chunk_k)];
  const index_t step = p.rows() <= sparse_piece_rows ? sparse_piece_k : sparse_chunk_k;
  block_product piece = p;
  piece.panel = packed;
  for (index_t k = 0; k < p.K; k += step) {
    piece.first_k = k;
    piece.K = p.K - k < step ? p.K - k : step;
    for (int i = 0; i < p.panels; i += Dense::panels) {
      piece.panels = p.panels - i < Dense::panels ? p.panels - i : Dense::panels;
      piece.c = p.c_of_panel(i);
      for (int j = 0; j < piece.panels; ++j)
        expand_units<F>(t::sparse_panel_at(p.panel, i + j), p.K, k / layout::unit_k, layout::units(k + piece.K),
                        packed + static_cast<std::size_t>(j) * t::panel_layout<F>::panel_bytes(piece.K));
      Dense::call(piece);
    }
  }
}
