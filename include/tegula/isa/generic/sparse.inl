// Products with a sparse panel (layout: pack/sparse_panel.hpp): a piece of K is expanded to the packed panel that it was, in memory that
// stays in L1 or L2, and the dense kernels run on that. So every mode has its kernel, and its bits.
//
// Bound of expansion, a row of 64 bytes on AVX-512: port 5, 2 cycles; the loads, one of a mask and one of values. It costs the same
// whatever the density, so memory is what sparse saves: masks and values are read once, upwards, and fetched ahead.

// Whole vectors of a plane of nibbles, as bytes.
TEGULA_INLINE void unpack_nibbles(const std::byte* plane, std::size_t bytes, int shift, std::byte* out) {
  for (std::size_t i = 0; i < bytes; i += 4 * lanes) store(out + i, (load<vu32>(plane + i) >> shift) & 0x0f0f0f0fu);
}

template <class F>
class tile_expansion {
  using layout = t::sparse_layout<F>;
  using rows_of = t::sparse_rows<F>;
  static constexpr int vectors = 16 / lanes;
  static constexpr std::uint32_t zeros = rows_of::zero * (rows_of::nibbles ? 0x11111111u : 0x01010101u);

 public:
  TEGULA_INLINE tile_expansion(const std::byte* masks, const std::byte* end, index_t rows)
      : mask_(masks), value_(masks + static_cast<std::size_t>(rows) * sizeof(typename layout::mask)) {
    if constexpr (rows_of::nibbles) {
      const auto bytes = static_cast<std::size_t>(end - value_);
      unpack_nibbles(value_, bytes, 0, bytes_);
      unpack_nibbles(value_, bytes, 4, bytes_ + bytes);
      value_ = bytes_;
    }
  }
  // The next stored row.
  TEGULA_INLINE void row(std::byte* stored) {
    vu32 low[vectors], high[vectors];
    expand(low);
    if constexpr (rows_of::nibbles) expand(high);
    TEGULA_UNROLL
    for (int v = 0; v < vectors; ++v) {
      if constexpr (rows_of::nibbles) low[v] |= high[v] << 4;
      store(stored + v * lanes * 4, zeros == 0 ? low[v] : low[v] ^ zeros);
    }
  }
  static void fill(std::byte* stored, std::size_t bytes) { __builtin_memset(stored, static_cast<int>(zeros & 0xffu), bytes); }

 private:
  TEGULA_INLINE void expand(vu32 (&row)[vectors]) {
    typename layout::mask mask;
    __builtin_memcpy(&mask, mask_, sizeof mask);
    expand_row<rows_of::element_bytes>(value_, mask_, row);
    mask_ += sizeof mask;
    value_ += __builtin_popcountll(mask) * rows_of::element_bytes;
  }

  const std::byte *mask_, *value_;
  alignas(64) std::byte bytes_[rows_of::nibbles ? layout::tile_bytes * 2 + 64 : 1];  // values that are nibbles in memory
};

// Memory's latency at its full speed: the hardware's prefetchers follow streams of even steps only, and records are uneven. (Zen 4, M = 1,
// bf16 at a density of one half.)
TEGULA_INLINE void prefetch_records_ahead(const t::tile_record& record) {
  constexpr int ahead = 8192;
  for (const std::byte* line = record.at; line < record.end; line += 64) __builtin_prefetch(line + ahead);
}

template <class F>
TEGULA_INLINE void expand_tile(const t::tile_record& record, const t::sparse_tile& tile, std::byte* stored) {
  const std::byte* at = record.at + tile.side_bytes;
  if (record.kind == t::tile_kind::full) {
    __builtin_memcpy(stored, at, tile.stored_bytes);
  } else if (record.kind == t::tile_kind::empty) {
    tile_expansion<F>::fill(stored, tile.stored_bytes);
  } else {
    tile_expansion<F> expansion(at, record.end, tile.rows);
    constexpr int all = t::sparse_layout<F>::stored_rows;
    if (tile.rows == t::sparse_tile_rows) {
      unrolled<all>([&](auto r) TEGULA_LAMBDA_INLINE { expansion.row(stored + r() * t::row_bytes); });
    } else {
      for (std::size_t r = 0; r < tile.stored_bytes; r += t::row_bytes) expansion.row(stored + r);
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
      prefetch_records_ahead(record);
      __builtin_memcpy(packed + tile.side_at, record.at, tile.side_bytes);
      expand_tile<F>(record, tile, packed + tile.stored_at);
    }
  }
}

// Of K at a time: with few rows of A what the kernel multiplies while the next rows are expanded, with more what stays in L2.
inline constexpr index_t sparse_piece_k = 256, sparse_chunk_k = 1024, sparse_piece_rows = 8;

template <class F, int Panels, auto Dense>
TEGULA_NOINLINE void sparse_macrokernel(const block_product& p) noexcept {
  using layout = t::sparse_layout<F>;
  alignas(64) std::byte packed[Panels * t::panel_layout<F>::panel_bytes(sparse_chunk_k)];
  const index_t step = p.rows() <= sparse_piece_rows ? sparse_piece_k : sparse_chunk_k;
  block_product piece = p;
  piece.panel = packed;
  for (index_t k = 0; k < p.K; k += step) {
    piece.first_k = k;
    piece.K = p.K - k < step ? p.K - k : step;
    for (int i = 0; i < p.panels; ++i)
      expand_units<F>(t::sparse_panel_at(p.panel, i), p.K, k / layout::unit_k, layout::units(k + piece.K),
                      packed + static_cast<std::size_t>(i) * t::panel_layout<F>::panel_bytes(piece.K));
    Dense(piece);
  }
}
