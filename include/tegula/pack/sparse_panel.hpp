// The sparse panel: a packed panel (pack/panel.hpp) without its zeros. What is kept stands in the order in which expanding it restores
// the panel's bytes, so that every kernel of the dense panel runs on it. This file knows the layout; sparse_matrix.hpp fills it.
//
// The quants of a panel are rows of 64 bytes, 32 words (f16, bf16) or 64 bytes; a stored row of nibbles is two rows, the low ones first.
// 16 rows are a tile; a unit (32 of K for floats, else a super-group) starts a new one, so its last may have fewer. A panel is
//
//   tile words   u32 [tiles + 1]     where the tile's record starts, a multiple of 4 bytes from the panel's start, plus its kind
//   records      of the tiles, each a multiple of 4 bytes:
//                  side fields       of the unit, as in the packed panel: with its first tile
//                  masks  [row]      u32 or u64, bit e for element e; kind `sparse` only
//                  values            `sparse`: words or bytes that are not zero, row by row, column by column; `full`: the rows as they are
//
// Bytes are kept xored with the byte of a zero weight. Nibbles are kept two a byte: the low halves have the values of even rows, the high
// halves those of odd rows, so that a stored row takes its halves from two rows of bytes that are expanded as they are.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>

#include "panel.hpp"

namespace tegula::inline TEGULA_ABI::detail {

enum class tile_kind : std::uint32_t { sparse, empty, full };

inline constexpr int sparse_tile_rows = 16;

// What a format's rows are. Of the quantized formats those whose quants are one plane of 4 or 8 bits.
template <class F>
struct sparse_rows;
template <float_format F>
  requires(sizeof(typename F::element) == 2)
struct sparse_rows<F> {
  static constexpr int element_bytes = 2;
  static constexpr bool nibbles = false;
  static constexpr unsigned char zero = 0;
  static constexpr index_t unit_k = 32, row_k = 2;

  static constexpr std::size_t side_bytes(index_t) { return 0; }
  static constexpr std::size_t unit_at(index_t unit) { return static_cast<std::size_t>(unit) * sparse_tile_rows * row_bytes; }
};
template <quant_format F>
  requires(F::planes.size() == 1 && F::planes[0].bits >= 4)
struct sparse_rows<F> {
  static constexpr int element_bytes = 1;
  static constexpr bool nibbles = F::planes[0].bits == 4;
  // Of Q4_K, whose minima decide what is a zero, the quant that is one where quants are symmetric: min = scale, dmin = 8 * d.
  static constexpr unsigned char zero = traits<F>::has_min ? 1 << (traits<F>::bits - 1) : F::offset;
  static constexpr index_t unit_k = traits<F>::super_k, row_k = 4;

  static constexpr std::size_t side_bytes(index_t k) { return panel_layout<F>::quants_at(static_cast<std::size_t>(k / F::block_k)); }
  static constexpr std::size_t unit_at(index_t unit) { return panel_layout<F>::super_at(unit); }
};

template <byte_format F>
struct sparse_rows<F> {
  static constexpr int element_bytes = 1;
  static constexpr bool nibbles = false;
  static constexpr unsigned char zero = 0;
  static constexpr index_t unit_k = F::block_k, row_k = 4;

  static constexpr std::size_t side_bytes(index_t) { return offsetof(byte_block, rows); }
  static constexpr std::size_t unit_at(index_t unit) { return static_cast<std::size_t>(unit) * sizeof(byte_block); }
};

// How many values a tile keeps: of even rows, of odd rows.
struct value_counts {
  std::size_t of[2] = {};

  [[nodiscard]] constexpr std::size_t all() const { return of[0] + of[1]; }
};

template <class F>
struct sparse_layout {
  using rows_of = sparse_rows<F>;
  using mask = std::conditional_t<rows_of::element_bytes == 2, std::uint32_t, std::uint64_t>;
  static constexpr int elements = row_bytes / rows_of::element_bytes;  // of a row
  static constexpr index_t unit_k = rows_of::unit_k;
  static constexpr index_t unit_tiles = unit_k / rows_of::row_k / sparse_tile_rows;
  static constexpr index_t stored_rows = sparse_tile_rows / (rows_of::nibbles ? 2 : 1);  // of the packed panel in a tile
  static constexpr std::size_t tile_bytes = stored_rows * row_bytes;

  static constexpr index_t units(index_t K) { return (K + unit_k - 1) / unit_k; }
  static constexpr index_t rows_in(index_t k) { return (k + rows_of::row_k - 1) / rows_of::row_k; }
  static constexpr index_t tiles(index_t K) {
    return K / unit_k * unit_tiles + (rows_in(K % unit_k) + sparse_tile_rows - 1) / sparse_tile_rows;
  }
  static constexpr std::size_t records_at(index_t K) { return static_cast<std::size_t>(tiles(K) + 1) * sizeof(std::uint32_t); }
  static constexpr std::size_t value_bytes(const value_counts& counts) {
    const std::size_t even = counts.of[0], odd = counts.of[1];
    if constexpr (rows_of::nibbles) return round_up(even > odd ? even : odd, std::size_t{4});
    else return round_up((even + odd) * rows_of::element_bytes, std::size_t{4});
  }
};

// A tile of a panel of K, and where it belongs.
struct sparse_tile {
  index_t tile, rows;              // its number, and its rows
  std::size_t side_bytes;          // of side fields in front of it; 0 but at a unit's start
  std::size_t side_at, stored_at;  // in the packed panel
  std::size_t stored_bytes;
};

// The tiles of a unit of a panel of K, whose packed panel begins with unit `first`.
template <class F>
struct sparse_unit {
  using layout = sparse_layout<F>;
  using rows_of = sparse_rows<F>;
  index_t first_tile, rows;
  std::size_t side_bytes, at;

  TEGULA_INLINE sparse_unit(index_t K, index_t unit, index_t first)
      : first_tile(unit * layout::unit_tiles), at(rows_of::unit_at(unit - first)) {
    const index_t rest = K - unit * layout::unit_k, k = rest < layout::unit_k ? rest : layout::unit_k;
    rows = layout::rows_in(k);
    side_bytes = rows_of::side_bytes(k);
  }
  [[nodiscard]] TEGULA_INLINE index_t tiles() const { return (rows + sparse_tile_rows - 1) / sparse_tile_rows; }
  [[nodiscard]] TEGULA_INLINE sparse_tile tile(index_t i) const {
    const index_t left = rows - i * sparse_tile_rows, in_tile = left < sparse_tile_rows ? left : index_t{sparse_tile_rows};
    return {first_tile + i,
            in_tile,
            i == 0 ? side_bytes : 0,
            at,
            at + side_bytes + static_cast<std::size_t>(i) * layout::tile_bytes,
            static_cast<std::size_t>(in_tile) * row_bytes / (rows_of::nibbles ? 2 : 1)};
  }
};

// Calls function(sparse_tile) for the tiles of a panel of K.
template <class F, class Function>
void for_each_sparse_tile(index_t K, Function function) {
  for (index_t u = 0; u < sparse_layout<F>::units(K); ++u) {
    const sparse_unit<F> unit(K, u, 0);
    for (index_t i = 0; i < unit.tiles(); ++i) function(unit.tile(i));
  }
}

// The masks of a tile: of row r, which has mask `mask`, what kernels expand it by. Here that itself.
struct plain_masks {
  TEGULA_INLINE plain_masks(const std::byte*, std::byte*) {}
  TEGULA_INLINE std::uint64_t operator()(index_t, std::uint64_t& mask) const {
    asm("" : "+r"(mask));  // loaded once, to expand by and to count
    return mask;
  }
};

// What leads to a sparse panel: its distance from here.
struct sparse_panel_head {
  std::uint64_t distance;
};

// Where panel p stands, from `heads` on, which has the heads of all panels.
TEGULA_INLINE std::size_t sparse_panel_place(const std::byte* heads, index_t p) {
  sparse_panel_head head;
  const std::size_t at = static_cast<std::size_t>(p) * sizeof head;
  std::memcpy(&head, heads + at, sizeof head);
  return at + head.distance;
}
template <class Byte>
TEGULA_INLINE Byte* sparse_panel_at(Byte* heads, index_t p) {
  return heads + sparse_panel_place(heads, p);
}

// A tile's record.
struct tile_record {
  const std::byte* at;
  const std::byte* end;
  tile_kind kind;

  TEGULA_INLINE tile_record(const std::byte* panel, index_t tile) {
    std::uint32_t words[2];
    std::memcpy(words, panel + static_cast<std::size_t>(tile) * sizeof *words, sizeof words);
    at = panel + std::size_t{words[0] & ~3u};
    end = panel + std::size_t{words[1] & ~3u};
    kind = static_cast<tile_kind>(words[0] & 3u);
  }
};

}  // namespace tegula::inline TEGULA_ABI::detail
