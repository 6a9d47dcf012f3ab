// Expanding a sparse panel (layout: pack/sparse_panel.hpp) to the packed panel that it was: a row at a time in registers, or tiles and
// pieces of K in memory. sparse_floats.inl and sparse_quants.inl multiply what is in registers, sparse_macrokernel.inl what is in memory.
//
// Bound of expansion, a row of 64 bytes on AVX-512: port 5, 2 cycles; the loads, one of a mask and one of values. It costs the same
// whatever the density, so memory is what sparse saves: masks and values are read once, upwards, and fetched ahead.

// What a tile's rows are expanded from: its masks, also as the ISA takes them, and its values. Multiplied: between products; else `end` is
// where the expanded tile ends, whose last 128 bytes masks may take until rows are stored there, the last ones last.
template <class F, bool Multiplied = false>
struct tile_source {
  using layout = t::sparse_layout<F>;
  using masks_type = row_masks<layout::rows_of::element_bytes, Multiplied>;
  masks_type masks;
  const std::byte *stored_masks, *values;

  TEGULA_INLINE tile_source(const std::byte* at, index_t rows, std::byte* end = nullptr)
      : masks(at, end), stored_masks(at), values(at + static_cast<std::size_t>(rows) * sizeof(typename layout::mask)) {}
};

// From what is read to what is fetched; bytes are fewer than words, and taken sooner.
template <class F>
inline constexpr index_t sparse_prefetch_ahead = t::sparse_rows<F>::element_bytes == 1 ? 10240 : 4096;

// What the rows of tiles keep of themselves: not asked; at most half, each of them; more, at least one.
enum class row_size { any, half, over_half };
template <row_size Size>
using row_size_constant = std::integral_constant<row_size, Size>;

// Calls function(size) with that of these tiles, a constant.
template <int MR, class F, int Tiles, class Function>
TEGULA_INLINE void with_row_size(const tile_source<F, true> (&sources)[Tiles], Function function) {
  if constexpr (MR <= sized_rows<F>) {
    bool halves = true;
    TEGULA_UNROLL
    for (const auto& source : sources) halves = halves && keeps_halves<t::sparse_rows<F>::element_bytes>(source.stored_masks);
    if (halves) function(row_size_constant<row_size::half>{});
    else function(row_size_constant<row_size::over_half>{});
  } else {
    function(row_size_constant<row_size::any>{});
  }
}

// Expands the rows of a tile, one after the other. Small, and apart from its source, so that it stays in registers.
template <class F, bool Multiplied = false, row_size Size = row_size::any>
class tile_expansion {
  using rows_of = t::sparse_rows<F>;
  using mask_type = typename t::sparse_layout<F>::mask;
  static constexpr int vectors = 16 / lanes;
  static constexpr std::uint32_t zeros = rows_of::zero * (rows_of::nibbles ? 0x11111111u : 0x01010101u);

 public:
  // Ahead: from what is read to what is fetched.
  TEGULA_INLINE explicit tile_expansion(const tile_source<F, Multiplied>& source, index_t ahead = sparse_prefetch_ahead<F>)
      : source_(source), masks_(source.masks), ahead_(ahead) {}
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
  // The hardware's prefetchers do not follow uneven steps, so rows, every one or some, fetch a line of what lies ahead.
  TEGULA_INLINE void prefetch() const { __builtin_prefetch(values(0) + ahead_); }
  // expand(values, kept) for the next row of words or bytes, from the values of even rows, or, of nibbles, of odd ones.
  template <class Expand>
  TEGULA_INLINE void next_row(int odd, Expand expand) {
    mask_type mask;
    __builtin_memcpy(&mask, source_.stored_masks + row_ * static_cast<index_t>(sizeof mask), sizeof mask);
    std::uint64_t bits = mask;
    const auto kept = masks_(row_++, bits);
    expand(values(odd), kept);
    taken_[odd] += static_cast<std::size_t>(__builtin_popcountll(bits));
  }
  static void fill(std::byte* stored, std::size_t bytes) { __builtin_memset(stored, static_cast<int>(zeros & 0xffu), bytes); }

 private:
  TEGULA_INLINE void expand(vu32 (&row)[vectors], int odd) {
    constexpr int bytes = rows_of::element_bytes;
    constexpr bool half = Size == row_size::half;
    next_row(odd, [&](const std::byte* values, auto kept) TEGULA_LAMBDA_INLINE { expand_row<bytes, half>(values, kept, row); });
  }
  [[nodiscard]] TEGULA_INLINE const std::byte* values(int odd) const { return source_.values + taken_[odd] * rows_of::element_bytes; }

  const tile_source<F, Multiplied>& source_;
  typename tile_source<F, Multiplied>::masks_type masks_;
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
  } else if (tile.rows == t::sparse_tile_rows) {
    const tile_source<F> source(at, tile.rows, stored + tile.stored_bytes);
    tile_expansion<F> expansion(source);
    unrolled<t::sparse_layout<F>::stored_rows>([&](auto r) TEGULA_LAMBDA_INLINE {
      if constexpr (r() % 2 == 0) expansion.prefetch();
      expansion.next(stored + r() * t::row_bytes);
    });
  } else {  // has not all masks
    const tile_source<F, true> source(at, tile.rows);
    tile_expansion<F, true> expansion(source);
    for (std::size_t r = 0; r < tile.stored_bytes; r += t::row_bytes) expansion.next(stored + r);
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
