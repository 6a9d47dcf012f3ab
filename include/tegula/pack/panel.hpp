// The packed panel: 16 rows of W (16 columns of C), laid out so that 64 bytes are one AMX tile row, one zmm, two ymm. One layout
// serves every ISA. This file knows where things stand in a panel; packed_matrix.hpp fills it, the ISAs read it.
//
// A quantized panel is a sequence of super-groups (256 weights of K, or four blocks of 32; the last may have fewer blocks):
//
//   scale words   [block][word][n]  u32          integer_scales only
//   d             [block][n]        f16
//   m             [block][n]        f16          if the format has minima
//   padding to 64 bytes
//   quants        [block][k / plane_k][plane][stored row][column n 0..15][k % 4]
//
// A plane of b bits holds the plane_k / 4 tile rows of plane_k weights in R = plane_k * b / 32 stored rows of 64 bytes: stored row r
// has, in the b bits from b * t up of every byte, tile row r + t * R.  Q4_0: stored row 0 has tile rows 0 (low nibbles) and 4 (high
// nibbles). With several planes plane_k is 32; nibbles and one more plane are joined (joined_planes). So whoever goes through a panel by
// groups reads upwards, and the hardware's prefetchers keep up; scales that stood behind the quants, or planes of 256 weights each, cost
// Q6_K a third of the memory's speed.
//
// A panel of bytes is a sequence of byte_blocks, 256 weights of K each, all in order.
//
// A float panel is [k][n] (f32, f16) or [k / 2][n][k % 2] (bf16, a tile row of TDPBF16PS; an odd last k is paired with zeros).
// Columns beyond N are zero. Padding: 32 bytes in 3,392 for Q6_K, none for the other formats but at a panel's end.
#pragma once

#include <type_traits>

#include "../formats/block_format.hpp"

namespace tegula::inline TEGULA_ABI::detail {

inline constexpr int NR = 16;         // columns of C a panel
inline constexpr int row_bytes = 64;  // of a tile row: NR columns x 4 bytes

// The largest N, K and M: sizes in bytes, at 4 a weight, stay far from overflow of 64 bits.
inline constexpr index_t max_extent = index_t{1} << 30;

template <class Integer>
constexpr Integer round_up(Integer value, Integer unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr index_t panel_count(index_t N) { return (N + NR - 1) / NR; }

// The panels of a packed matrix, without its type.
struct packed_panels {
  const std::byte* data;
  std::size_t stride;  // bytes of a panel
  index_t K;
};

// What one task computes: blocks of 16 rows of A times panels of W.
struct task_range {
  index_t first_block, last_block, first_panel, last_panel;
};

// Quants of a nibble and b more bits are stored by pairs: x of tile row r of 32 of K, and y of row r + 4, moved up to the top of its byte.
// Stored row r has the low nibbles of x and the high ones of y. The high bits of x and the low bits of y below them, 2b bits in the
// middle of a byte, stand in the other plane: those of pair i in its row i % b, 2b * (i / b) bits up.
//
//   x = low nibbles of row r, high nibbles of the middle        y = high nibbles of row r, low nibbles of the middle
//
// So pairs share a shift and a mask, x and y are a selection of bits each, and y, with zeros below it, needs no mask when it is moved
// down, which sums of its products can be instead. Planes each for itself are two shifts and two masks a quant.
template <quant_format F>
struct joined_planes {
  static constexpr bool applies = F::planes.size() == 2 && F::planes[0].bits == 4 && F::planes[1].bits <= 4;
  static constexpr unsigned bits = applies ? static_cast<unsigned>(F::planes[1].bits) : 1, pairs = 4;
  static constexpr int lift = 4 - static_cast<int>(bits);                   // of y
  static constexpr std::uint32_t middle = ((1u << 2 * bits) - 1u) << lift;  // of a byte

  static constexpr bool upper(unsigned r) { return r % (2 * pairs) >= pairs; }  // whether tile row r is a y
  static constexpr unsigned middle_row(unsigned pair) { return pair % bits; }
  static constexpr int middle_shift(unsigned pair) { return static_cast<int>(2 * bits * (pair / bits)) - lift; }  // down, to the middle
};

template <class F>
struct panel_layout;

template <quant_format F>
struct panel_layout<F> {
  using facts = traits<F>;
  static constexpr int plane_k = F::planes.size() == 1 ? F::block_k : 32;
  static constexpr int tile_rows = plane_k / 4;  // that planes hold together
  static constexpr std::size_t plane_rows(std::size_t plane) { return static_cast<std::size_t>(plane_k * F::planes[plane].bits / 32); }
  static constexpr std::size_t plane_at(std::size_t plane) {  // bytes from the first plane
    std::size_t at = 0;
    for (std::size_t p = 0; p < plane; ++p) at += plane_rows(p) * row_bytes;
    return at;
  }
  static constexpr std::size_t planes_bytes = plane_at(F::planes.size());
  static constexpr std::size_t block_quants = F::block_k / plane_k * planes_bytes;
  static constexpr std::size_t words = [] {
    if constexpr (integer_scales<F>) return static_cast<std::size_t>(F::scale_words);
    else return std::size_t{0};
  }();

  // Offsets in a super-group of `blocks` blocks.
  static constexpr std::size_t d_at(std::size_t blocks) { return blocks * words * row_bytes; }
  static constexpr std::size_t m_at(std::size_t blocks) { return d_at(blocks) + blocks * NR * 2; }
  static constexpr std::size_t quants_at(std::size_t blocks) {
    return round_up(m_at(blocks) + (facts::has_min ? blocks * NR * 2 : 0), std::size_t{row_bytes});
  }
  static constexpr std::size_t super_bytes(std::size_t blocks) { return quants_at(blocks) + blocks * block_quants; }
  static constexpr std::size_t full_super = super_bytes(facts::super_blocks);

  static constexpr std::size_t panel_bytes(index_t K) {
    const auto blocks = static_cast<std::size_t>(K / F::block_k);
    const std::size_t rest = blocks % facts::super_blocks;
    return blocks / facts::super_blocks * full_super + (rest == 0 ? 0 : super_bytes(rest));
  }
  // Super-group s of a panel of K weights: its offset and how many blocks it has.
  static constexpr std::size_t super_at(index_t s) { return static_cast<std::size_t>(s) * full_super; }
  static constexpr std::size_t super_blocks(index_t s, index_t K) {
    const index_t rest = K / F::block_k - s * facts::super_blocks;
    return static_cast<std::size_t>(rest < facts::super_blocks ? rest : facts::super_blocks);
  }
};

// 256 weights of K of a panel as int8, weight = scale * byte: what a byte_format is packed as, and what requantized mode makes of others.
struct byte_block {
  static constexpr int k = 256;
  alignas(row_bytes) float scales[NR];
  std::byte rows[k / 4][row_bytes];  // [k / 4][column][k % 4]
};

template <byte_format F>
struct panel_layout<F> {
  static constexpr std::size_t panel_bytes(index_t K) { return static_cast<std::size_t>(K / F::block_k) * sizeof(byte_block); }
};

template <float_format F>
struct panel_layout<F> {
  static constexpr index_t k_step = std::is_same_v<F, bf16> ? 2 : 1;  // consecutive k of one column
  static constexpr std::size_t panel_bytes(index_t K) {
    return round_up(static_cast<std::size_t>(round_up(K, k_step)) * NR * sizeof(typename F::element), std::size_t{row_bytes});
  }
};

}  // namespace tegula::inline TEGULA_ABI::detail
