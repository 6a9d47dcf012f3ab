// Few rows of A times sparse quants: what the dense kernel would load from a packed panel it gets expanded, row by row, in registers.
// Bound: like all expansion, port 5, 2 cycles a row of 64 bytes.

// The next row of a tile, where it is a register.
template <class F, row_size Size>
TEGULA_INLINE vu32 expanded_row(tile_expansion<F, true, Size>& tile) {
  vu32 row[panel_vectors];
  if constexpr (Size != row_size::over_half) tile.prefetch();
  tile.next(row);
  return row[0];
}

// Fetches what lies ahead of tiles with longer rows. (With a line by each row, Zen 5, M = 1 from memory, zeros 30 %: Q8_256 40 to 33 GB/s.)
template <class F, row_size Size>
TEGULA_INLINE void prefetch_tiles(const std::byte* first, const std::byte* last) {
  if constexpr (Size == row_size::over_half) prefetch_upwards(first + sparse_prefetch_ahead<F>, static_cast<std::size_t>(last - first));
}

// The tiles of a unit of K, all of its rows there.
template <class F>
class tiles_of_unit {
  using layout = t::sparse_layout<F>;

 public:
  TEGULA_INLINE tiles_of_unit(const std::byte* panel, index_t unit)
      : panel_(panel), words_(panel + static_cast<std::size_t>(unit * layout::unit_tiles) * sizeof(std::uint32_t)) {}

  [[nodiscard]] TEGULA_INLINE bool all(t::tile_kind kind) const {
    bool are = true;
    TEGULA_UNROLL
    for (index_t i = 0; i < layout::unit_tiles; ++i) are &= (word(i) & 3u) == static_cast<std::uint32_t>(kind);
    return are;
  }
  // Of the tile's record; the first has the unit's side fields in front.
  [[nodiscard]] TEGULA_INLINE const std::byte* record(index_t i) const { return panel_ + std::size_t{word(i) & ~3u}; }
  [[nodiscard]] TEGULA_INLINE const std::byte* rows(index_t i) const {
    return record(i) + (i == 0 ? t::sparse_rows<F>::side_bytes(layout::unit_k) : 0);
  }

 private:
  [[nodiscard]] TEGULA_INLINE std::uint32_t word(index_t i) const {
    std::uint32_t word;
    __builtin_memcpy(&word, words_ + static_cast<std::size_t>(i) * sizeof word, sizeof word);
    return word;
  }

  const std::byte *panel_, *words_;
};

// What the tiles of a unit, which are all sparse, are expanded from.
template <class F>
struct unit_sources {
  tile_source<F, true> of[t::sparse_layout<F>::unit_tiles];

  TEGULA_INLINE explicit unit_sources(const tiles_of_unit<F>& tiles)
      : unit_sources(tiles, std::make_integer_sequence<index_t, t::sparse_layout<F>::unit_tiles>{}) {}

 private:
  template <index_t... I>
  TEGULA_INLINE unit_sources(const tiles_of_unit<F>& tiles, std::integer_sequence<index_t, I...>)
      : of{tile_source<F, true>(tiles.rows(I), t::sparse_tile_rows)...} {}
};

// Stored rows of such a unit, as packed_weights asks for them: once each, upwards.
template <class F, row_size Size>
class rows_of_unit {
  using layout = t::sparse_layout<F>;

 public:
  TEGULA_INLINE explicit rows_of_unit(const unit_sources<F>& sources)
      : rows_of_unit(sources, std::make_index_sequence<static_cast<std::size_t>(layout::unit_tiles)>{}) {}

  TEGULA_INLINE vu32 operator()(std::size_t block, std::size_t stored, int) {
    const std::size_t row = block * (t::panel_layout<F>::block_quants / t::row_bytes) + stored;
    return expanded_row(tiles_[row / static_cast<std::size_t>(layout::stored_rows)]);
  }

 private:
  template <std::size_t... I>
  TEGULA_INLINE rows_of_unit(const unit_sources<F>& sources, std::index_sequence<I...>)
      : tiles_{tile_expansion<F, true, Size>(sources.of[I])...} {}

  tile_expansion<F, true, Size> tiles_[layout::unit_tiles];
};

// C[MR][NR] += super-group s, which does not expand in registers: where it stands if it is full, as it was packed; else expanded to memory.
template <quant_format F, int MR>
TEGULA_NOINLINE void add_from_memory(const t::a_block& block, index_t row, const std::byte* panel, index_t s, index_t K,
                                     float* c) noexcept {
  alignas(64) std::byte packed[t::panel_layout<F>::full_super];
  const std::size_t blocks = t::panel_layout<F>::super_blocks(s, K);
  const tiles_of_unit<F> tiles(panel, s);
  const bool whole = blocks == t::traits<F>::super_blocks, full = whole && tiles.all(t::tile_kind::full);
  if (!full) expand_units<F>(panel, K, s, s + 1, packed);
  const super_group<F> super{full ? tiles.record(0) : packed, blocks};
  const std::size_t ahead = full ? fetch_distance<F>() : 0;
  if (whole) add_packed<F, MR, true>(block, row, s, super, ahead, c);
  else add_packed<F, MR, false>(block, row, s, super, ahead, c);
}

// All of K straight from the sparse panel.
template <quant_format F, int MR>
TEGULA_NOINLINE void exact_sparse_kernel(const t::a_block& block, index_t row, const std::byte* panel, index_t K, float* c) noexcept {
  constexpr std::size_t blocks = t::traits<F>::super_blocks;
  constexpr index_t super_k = t::traits<F>::super_k;
  sum_aside<MR>(c, [&](float* sums) TEGULA_LAMBDA_INLINE {
    for (index_t s = 0; s < t::sparse_layout<F>::units(K); ++s) {
      const tiles_of_unit<F> tiles(panel, s);
      if ((s + 1) * super_k > K || !tiles.all(t::tile_kind::sparse)) {
        add_from_memory<F, MR>(block, row, panel, s, K, sums);
        continue;
      }
      const unit_sources<F> sources(tiles);
      with_row_size<MR>(sources.of, [&](auto size) TEGULA_LAMBDA_INLINE {
        prefetch_tiles<F, size()>(tiles.record(0), tiles.record(t::sparse_layout<F>::unit_tiles));
        using rows = rows_of_unit<F, size()>;
        packed_weights<F, panel_vectors, (MR <= in_place_rows), true, rows> weights({tiles.record(0), blocks}, 0, 0, rows(sources));
        add_super<F, decltype(weights), MR, panel_vectors>(a_rows(block, row, s * super_k), weights, blocks, sums);
      });
    }
  });
}

template <byte_format F, int MR>
TEGULA_NOINLINE void exact_sparse_kernel(const t::a_block& block, index_t row, const std::byte* panel, index_t K, float* c) noexcept {
  for (index_t k = 0; k < K; k += t::scale_k) {
    const a_rows a(block, row, k);
    const tiles_of_unit<F> tiles(panel, k / t::scale_k);
    const std::byte* scales = tiles.record(0);
    if (tiles.all(t::tile_kind::sparse)) {
      add_256<MR>(
          a, scales,
          [&](index_t i, auto step) TEGULA_LAMBDA_INLINE {
            const tile_source<F, true> source[]{tile_source<F, true>(tiles.rows(i), t::sparse_tile_rows)};
            with_row_size<MR>(source, [&](auto size) TEGULA_LAMBDA_INLINE {
              prefetch_tiles<F, size()>(tiles.record(i), tiles.record(i + 1));
              tile_expansion<F, true, size()> expansion(source[0]);
              step([&](int, int) TEGULA_LAMBDA_INLINE { return expanded_row(expansion) ^ 0x80808080u; });
            });
          },
          c);
    } else {
      alignas(64) std::byte packed[sizeof(t::byte_block)];
      const std::byte* at = scales + t::sparse_rows<F>::side_bytes(t::scale_k);
      if (!tiles.all(t::tile_kind::full)) {
        expand_units<F>(panel, K, k / t::scale_k, k / t::scale_k + 1, packed);
        at = packed + t::sparse_rows<F>::side_bytes(t::scale_k);
      }
      add_256<MR>(
          a, scales,
          [&](index_t i, auto step) TEGULA_LAMBDA_INLINE {
            step(byte_rows_in_memory<0, false>{at + static_cast<std::size_t>(i) * t::sparse_layout<F>::tile_bytes});
          },
          c);
    }
  }
}

// Few rows of A: expanded and multiplied in one pass.
template <quantized_format F>
TEGULA_INLINE void exact_from_sparse(const block_product& p) {
  for (int i = 0; i < p.panels; ++i) {
    const std::byte* panel = t::sparse_panel_at(p.panel, i);
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      for_each_strip<expanded_rows<F>, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
        exact_sparse_kernel<F, mr()>(block, m, panel, p.K, c + i * c_stride + m * t::NR);
      });
    });
  }
}
