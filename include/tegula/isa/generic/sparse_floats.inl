// Few rows of A times sparse floats: expanded and multiplied in one pass.

// Panels that are read side by side, and where their values are fetched: behind a panel's end goes on the one of the next round, while what
// lies there is another's. (Else a quarter of the lines would be missed, at 90 % zeros and K = 4096.)
class sparse_streams {
 public:
  // From panel `first` of a product on; its last one in place of those that are not there.
  TEGULA_INLINE sparse_streams(const block_product& p, int first) {
    const index_t behind = p.panels - first + p.following;
    for (int i = 0; i < expanded_panels; ++i) {
      const index_t own = first + (i < behind ? i : behind - 1);
      of_[i] = {t::sparse_panel_at(p.panel, own), PTRDIFF_MAX, sparse_prefetch_ahead<bf16>};
      if (i + expanded_panels >= behind) continue;
      const std::byte *end = t::sparse_panel_at(p.panel, own + 1), *next = t::sparse_panel_at(p.panel, own + expanded_panels);
      of_[i].turn = end - of_[i].panel - sparse_prefetch_ahead<bf16>;
      of_[i].ahead_from_turn = next - end + sparse_prefetch_ahead<bf16>;
    }
  }
  [[nodiscard]] TEGULA_INLINE const std::byte* panel(std::size_t i) const { return of_[i].panel; }
  // From a tile's record in panel i to what is fetched with it.
  [[nodiscard]] TEGULA_INLINE index_t ahead_of(std::size_t i, const std::byte* at) const {
    return at - of_[i].panel < of_[i].turn ? sparse_prefetch_ahead<bf16> : of_[i].ahead_from_turn;
  }

 private:
  struct stream {
    const std::byte* panel;
    index_t turn, ahead_from_turn;
  };
  stream of_[expanded_panels];
};

// Adds to vector v of row m of C.
TEGULA_INLINE void add_total(float* c, int m, int v, vf32 total) {
  float* at = c + m * t::NR + v * lanes;
  store(at, load<vf32>(at) + total);
}

// How exact mode multiplies tiles: A as floats, and what sums the products of a row as it is expanded, or of a tile in memory.
struct float_tiles {
  using activation = float;
  template <class F, int MR, bool Half>
  using products = float_products<F, MR, Half>;

  // C[MR][NR] += those of `count` of K, at most 32.
  template <float_format F, int MR>
  TEGULA_INLINE static void multiply(const std::byte* a, index_t tile_stride, index_t count, const std::byte* stored, float* c) {
    multiply_32<float, MR, panel_vectors>(a, tile_stride, count, rows_in_memory<typename F::element, false>{stored},
                                          [&](int m, int v, vf32 sum) TEGULA_LAMBDA_INLINE { add_total(c, m, v, sum); });
  }
};

// C[MR][NR] += the products of a tile that is full, and multiplied where it stands, or that is empty or ends K and is expanded to memory;
// `count` of K from its start.
template <float_format F, class Tiles, int MR>
TEGULA_NOINLINE void multiply_stored_tile(const std::byte* tiles, index_t tile_stride, const t::tile_record& record, index_t count,
                                          float* c) noexcept {
  alignas(64) std::byte expanded[t::sparse_layout<F>::tile_bytes];
  const std::byte* stored = record.at;
  if (record.kind == t::tile_kind::full) {
    prefetch_lines<t::sparse_layout<F>::tile_bytes>(opaque(record.at) + sparse_prefetch_ahead<F>);
  } else {
    expand_tile<F>(record, t::sparse_unit<F>(count, 0, 0).tile(0), expanded);
    stored = expanded;
  }
  Tiles::template multiply<F, MR>(tiles, tile_stride, count, stored, c);
}

// C[panel][MR][NR] += the products of tiles of expanded_panels panels, side by side.
template <float_format F, class Tiles, int MR>
TEGULA_INLINE void multiply_sparse_tiles(const std::byte* tiles, index_t tile_stride, const t::tile_record (&records)[expanded_panels],
                                         const sparse_streams& streams, float* c) {
  [&]<std::size_t... I>(std::index_sequence<I...>) TEGULA_LAMBDA_INLINE {
    const tile_source<F, true> sources[]{tile_source<F, true>(records[I].at, t::sparse_tile_rows)...};
    with_row_size<MR>(sources, [&](auto size) TEGULA_LAMBDA_INLINE {
      tile_expansion<F, true> expansions[]{tile_expansion<F, true>(sources[I], streams.ahead_of(I, records[I].at))...};
      typename Tiles::template products<F, MR, size() == row_size::half> products[expanded_panels];
      unrolled<t::sparse_tile_rows>([&](auto row) TEGULA_LAMBDA_INLINE {
        using activation = typename Tiles::activation;
        constexpr int tile_rows = activation_rows<activation>::tile_k / 2, rows_a_fetch = size() == row_size::half ? 4 : 2;
        const std::byte* a = (row() < tile_rows ? tiles : tiles + tile_stride) + row() % tile_rows * 2 * sizeof(activation);
        unrolled<expanded_panels>([&](auto i) TEGULA_LAMBDA_INLINE {
          if constexpr (row() % rows_a_fetch == 0) expansions[i()].prefetch();
          expansions[i()].next_row(0, [&](const std::byte* values, auto kept) TEGULA_LAMBDA_INLINE { products[i()].add(values, kept, a); });
        });
      });
      (for_each_vector<MR, panel_vectors>(
           [&](int m, int v) TEGULA_LAMBDA_INLINE { add_total(c + I * c_stride, m, v, products[I].total(m, v)); }),
       ...);
    });
  }(std::make_index_sequence<expanded_panels>{});
}

// C[panel][MR][NR] += A[MR][K] * expanded_panels panels of floats, expanded and multiplied in one pass.
template <float_format F, class Tiles, int MR>
TEGULA_NOINLINE void sparse_float_kernel(const std::byte* tiles, index_t tile_stride, const sparse_streams& streams, index_t K,
                                         float* c) noexcept {
  [&]<std::size_t... I>(std::index_sequence<I...>) TEGULA_LAMBDA_INLINE {
    for (index_t k = 0; k < K; k += 32, tiles += 32 / activation_rows<typename Tiles::activation>::tile_k * tile_stride) {
      const t::tile_record records[]{t::tile_record(streams.panel(I), k / 32)...};
      const bool sparse = ((records[I].kind == t::tile_kind::sparse) && ...);
      if constexpr (has_float_products<F>)
        if (sparse && K - k >= 32) {
          multiply_sparse_tiles<F, Tiles, MR>(tiles, tile_stride, records, streams, c);
          continue;
        }
      const index_t count = K - k < 32 ? K - k : 32;
      (multiply_stored_tile<F, Tiles, MR>(tiles, tile_stride, records[I], count, c + I * c_stride), ...);
    }
  }(std::make_index_sequence<expanded_panels>{});
}

// Few rows of A, float weights.
template <float_format F, class Tiles>
TEGULA_INLINE void floats_from_sparse(const block_product& p) {
  for (int i = 0; i < p.panels; i += expanded_panels) {
    const sparse_streams streams(p, i);
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      for_each_strip<expanded_strip, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
        sparse_float_kernel<F, Tiles, mr()>(block.tiles + m * t::row_bytes, block.tile_stride(), streams, p.K,
                                            c + i * c_stride + m * t::NR);
      });
    });
  }
}
template <float_format F>
TEGULA_INLINE void exact_from_sparse(const block_product& p) {
  floats_from_sparse<F, float_tiles>(p);
}
