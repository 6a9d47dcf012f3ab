// quantized_activations: A in the form that the kernels read, made once and used for any number of products.
//
// Rows stand in blocks of 16, the last with the rows that are left. A block is a sequence of k-tiles, each with 64 bytes a row:
// 64 int8, 32 bf16 or 16 f32 of K. A k-tile of a full block is an AMX tile; a block of one row is simply a row.
//
//   block 0: [k-tile][row 0..15][64 bytes]    block 1: ..    last block: [k-tile][row 0..rest-1][64 bytes]
//
// int8 has a scale a row per 256 of K, [k / 256][row] within a block, and the sums of the quants over groups of 32,
// [k / 256][row][group], that minima and offsets of weights need: as floats, which hold these integers exactly, and again as
// pairs (128 * h, l) of bf16, h and l integers, which is how AMX multiplies them. Sums that integer products start
// from or are multiplied with stand in `integer_sums`. K is padded with zeros to 256.
// Where AMX may run, int8 for exact mode also has the quants as bf16, which holds them exactly: k-tiles of 32, one group each, in the
// same blocks.
// Element 2 i of a row is quant i of the group, element 2 i + 1 quant i + 16.
#pragma once

#include "../core/aligned_buffer.hpp"
#include "../core/matrix_view.hpp"
#include "panel.hpp"

namespace tegula::inline TEGULA_ABI {

namespace detail {

inline constexpr int block_rows = 16;    // rows of A in a block: the rows of a tile
inline constexpr index_t m_blocks = 32;  // in an M block, 512 rows, for which a panel is unpacked once; even, for pairs of tiles
inline constexpr int scale_k = 256;      // weights of K that share an activation scale
inline constexpr int sums16_per_scale = scale_k / 16, sums32_per_scale = scale_k / 32;
inline constexpr int pairs_per_scale = 32;  // bf16 of a row of group-sum pairs, 8 pairs and as many zeros: a tile row

// How A is held.
enum class a_kind { int8, bf16, f32 };

constexpr index_t a_tile_k(a_kind kind) { return kind == a_kind::int8 ? 64 : kind == a_kind::bf16 ? 32 : 16; }
constexpr const char* a_kind_name(a_kind kind) { return kind == a_kind::int8 ? "int8" : kind == a_kind::bf16 ? "bf16" : "f32"; }

// Sums of 256 quants of a row, as the vector kernels take them.
struct integer_sums {
  std::int32_t offsets32[sums32_per_scale];    // -128 * the sum of 32: what an offset of 128 adds to a group's products
  std::int32_t negatives32[sums32_per_scale];  // the magnitudes of the negative ones of 32
  std::int16_t offsets8[scale_k / 8];          // -32 * the sum of 8: the same for an offset of 32
  std::int16_t offsets16[scale_k / 8];         // the same of 16: of those with k % 4 < 2, and of the others
  std::int16_t sums32[sums32_per_scale];       // of 32, in the order 0 2 1 3, 4 6 5 7: in pairs, as minima stand in words of four
  std::int32_t offset256;                      // -128 * the sum of all
};

// One block of rows; see the layout above. Only int8 has scales, sums and pairs, and perhaps bf16_tiles.
template <class Byte, class Float, class Half, class Sums>
struct basic_a_block {
  index_t rows = 0;
  index_t row_tile_bytes = 0, scale_groups = 0;  // of a row in all
  Byte* tiles = nullptr;
  Byte* bf16_tiles = nullptr;
  Float* scales = nullptr;
  Float* sums32 = nullptr;
  Half* pairs = nullptr;
  Sums* sums = nullptr;

  [[nodiscard]] index_t tile_stride() const noexcept { return rows * row_bytes; }
  // The block of as many rows that starts n rows further down.
  [[nodiscard]] basic_a_block below(index_t n) const noexcept {
    basic_a_block b = *this;
    b.tiles += n * row_tile_bytes;
    if (bf16_tiles != nullptr) b.bf16_tiles += n * 2 * row_tile_bytes;
    b.scales += n * scale_groups;
    b.sums32 += n * scale_groups * sums32_per_scale;
    b.pairs += n * scale_groups * pairs_per_scale;
    b.sums += n * scale_groups;
    return b;
  }
};
using a_block = basic_a_block<const std::byte, const float, const std::uint16_t, const integer_sums>;
using mutable_a_block = basic_a_block<std::byte, float, std::uint16_t, integer_sums>;

class activation_store {
 public:
  // `with_bf16_tiles`: whether int8 has its quants as bf16 as well.
  activation_store(a_kind kind, index_t M, index_t K, bool with_bf16_tiles)
      : kind_(kind),
        M_(M),
        K_(K),
        padded_k_(round_up(K, kind == a_kind::int8 ? index_t{scale_k} : a_tile_k(kind))),
        tiles_(bytes_of_tiles(kind)),
        bf16_tiles_(kind == a_kind::int8 && with_bf16_tiles ? bytes_of_tiles(a_kind::bf16) : 0),
        floats_(kind == a_kind::int8 ? floats_per_row() * static_cast<std::size_t>(M) * 4 + tile_slack : 0),
        pairs_(kind == a_kind::int8 ? scale_groups() * static_cast<std::size_t>(M) * pairs_per_scale * 2 + tile_slack : 0),
        sums_(kind == a_kind::int8 ? (scale_groups() * static_cast<std::size_t>(M) + block_rows) * sizeof(integer_sums) : 0) {}

  [[nodiscard]] a_kind kind() const noexcept { return kind_; }
  [[nodiscard]] index_t rows() const noexcept { return M_; }
  [[nodiscard]] index_t cols() const noexcept { return K_; }
  [[nodiscard]] index_t blocks() const noexcept { return (M_ + block_rows - 1) / block_rows; }
  [[nodiscard]] bool has_bf16_tiles() const noexcept { return bf16_tiles_.data() != nullptr; }

  [[nodiscard]] mutable_a_block block(index_t i) noexcept {
    return locate<mutable_a_block>(i, tiles_.data(), bf16_tiles_.data(), reinterpret_cast<float*>(floats_.data()),
                                   reinterpret_cast<std::uint16_t*>(pairs_.data()), reinterpret_cast<integer_sums*>(sums_.data()));
  }
  [[nodiscard]] a_block block(index_t i) const noexcept {
    return locate<a_block>(i, tiles_.data(), bf16_tiles_.data(), reinterpret_cast<const float*>(floats_.data()),
                           reinterpret_cast<const std::uint16_t*>(pairs_.data()), reinterpret_cast<const integer_sums*>(sums_.data()));
  }

 private:
  // Kernels that work on a strip of rows, or on scales of 16 rows, may read past the last block's end what nobody uses.
  static constexpr std::size_t tile_slack = std::size_t{block_rows} * row_bytes;

  [[nodiscard]] std::size_t scale_groups() const noexcept { return static_cast<std::size_t>(padded_k_ / scale_k); }
  [[nodiscard]] std::size_t row_tile_bytes(a_kind kind) const noexcept {
    return static_cast<std::size_t>(padded_k_ / a_tile_k(kind)) * row_bytes;
  }
  [[nodiscard]] std::size_t bytes_of_tiles(a_kind kind) const noexcept {
    return row_tile_bytes(kind) * static_cast<std::size_t>(M_) + tile_slack;
  }
  [[nodiscard]] std::size_t floats_per_row() const noexcept { return scale_groups() * (1 + sums32_per_scale); }

  template <class Block, class Byte, class Float, class Half, class Sums>
  [[nodiscard]] Block locate(index_t i, Byte* tiles, Byte* bf16_tiles, Float* floats, Half* pairs, Sums* sums) const noexcept {
    const index_t first = i * block_rows, rest = M_ - first;
    Block b;
    b.rows = rest < block_rows ? rest : block_rows;
    b.row_tile_bytes = static_cast<index_t>(row_tile_bytes(kind_));
    b.tiles = tiles;
    if (kind_ == a_kind::int8) {
      const std::size_t all = static_cast<std::size_t>(M_) * scale_groups();
      b.scale_groups = static_cast<index_t>(scale_groups());
      b.bf16_tiles = bf16_tiles;
      b.sums32 = floats;
      b.scales = b.sums32 + all * sums32_per_scale;
      b.pairs = pairs;
      b.sums = sums;
    }
    return b.below(first);
  }

  a_kind kind_;
  index_t M_, K_, padded_k_;
  aligned_buffer tiles_, bf16_tiles_, floats_, pairs_, sums_;
};

}  // namespace detail
}  // namespace tegula::inline TEGULA_ABI
