// quantized_activations: A in the form that the kernels read, made once and used for any number of products.
//
// Rows stand in blocks of 16, the last with the rows that are left. A block is a sequence of k-tiles, each with 64 bytes a row:
// 64 int8, 32 bf16 or 16 f32 of K. A k-tile of a full block is an AMX tile; a block of one row is simply a row.
//
//   block 0: [k-tile][row 0..15][64 bytes]    block 1: ..    last block: [k-tile][row 0..rest-1][64 bytes]
//
// int8 has K padded with zeros to 256, a scale a row per 256 of K, [k / 256][row] within a block, and as many of the a_parts, each
// [k / 256][row][..], as the kernels read that it was made for.
#pragma once

#include "../core/aligned_buffer.hpp"
#include "../core/matrix_view.hpp"
#include "panel.hpp"

namespace tegula::inline TEGULA_ABI {

namespace detail {

inline constexpr int block_rows = 16;    // rows of A in a block: the rows of a tile
inline constexpr index_t m_blocks = 32;  // in an M block, 512 rows, for which a panel is unpacked once; even, for pairs of tiles
inline constexpr int scale_k = 256;      // weights of K that share an activation scale
inline constexpr int sums8_per_scale = scale_k / 8, sums16_per_scale = scale_k / 16, sums32_per_scale = scale_k / 32;
inline constexpr int pairs_per_scale = 32;  // bf16 of a row of group-sum pairs, 8 pairs and as many zeros: a tile row

// How A is held.
enum class a_kind { int8, bf16, f32 };

constexpr index_t a_tile_k(a_kind kind) { return kind == a_kind::int8 ? 64 : kind == a_kind::bf16 ? 32 : 16; }
constexpr const char* a_kind_name(a_kind kind) { return kind == a_kind::int8 ? "int8" : kind == a_kind::bf16 ? "bf16" : "f32"; }

// What kernels may read of int8 activations besides quants and scales: sums of the quants, which minima and offsets of weights are
// multiplied with, and the quants once more as bf16, which holds them exactly.
namespace a_part {
inline constexpr unsigned sums32 = 1 << 0;     // of 32, as floats
inline constexpr unsigned offsets16 = 1 << 1;  // -32 * the sums of 16, of those with k % 4 < 2 and of the others: what an offset of 32 adds
inline constexpr unsigned pairs32 = 1 << 2;    // of 32 as (128 * h, l), integers in bf16: how AMX multiplies sums
inline constexpr unsigned halves32 = 1 << 3;   // of 32 in 16 bits, in the order 0 2 1 3, 4 6 5 7: as minima stand in words of four
inline constexpr unsigned offsets32 = 1 << 4;  // -128 * the sum of 32: what an offset of 128 adds to a group's products
inline constexpr unsigned offsets8 = 1 << 5;   // -32 * the sum of 8: the same for an offset of 32
inline constexpr unsigned offset256 = 1 << 6;  // -128 * the sum of all
inline constexpr unsigned negatives32 = 1 << 7;  // the magnitudes of the negative ones of 32, summed
inline constexpr unsigned bf16_tiles =
    1 << 8;  // k-tiles of 32, a group each: element 2 i of a row is quant i, element 2 i + 1 quant i + 16
}  // namespace a_part
using a_parts = unsigned;  // a sum of them

// One block of rows; see the layout above. Only int8 has scales and parts; a pointer to a part that was not made must not be read.
template <template <class> class Pointer>
struct basic_a_block {
  static constexpr int part_count = 10;  // with the scales
  index_t rows = 0;
  index_t tile_k = 0, row_tile_bytes = 0, scale_groups = 0;  // of a tile, and of a row in all
  a_parts parts = 0;
  Pointer<std::byte> tiles = nullptr;
  Pointer<float> scales = nullptr;
  Pointer<float> sums32 = nullptr;
  Pointer<std::int16_t> offsets16 = nullptr;
  Pointer<std::uint16_t> pairs32 = nullptr;
  Pointer<std::int16_t> halves32 = nullptr;
  Pointer<std::int32_t> offsets32 = nullptr;
  Pointer<std::int32_t> negatives32 = nullptr;
  Pointer<std::int16_t> offsets8 = nullptr;
  Pointer<std::int32_t> offset256 = nullptr;
  Pointer<std::byte> bf16_tiles = nullptr;

  [[nodiscard]] bool has(a_parts wanted) const noexcept { return (wanted & ~parts) == 0; }
  [[nodiscard]] index_t tile_stride() const noexcept { return rows * row_bytes; }
  // The block of as many rows that starts n rows further down.
  [[nodiscard]] basic_a_block below(index_t n) const noexcept {
    basic_a_block b = *this;
    b.tiles += n * row_tile_bytes;
    b.for_each_part([&](auto& pointer, index_t per_scale, a_parts) TEGULA_LAMBDA_INLINE { pointer += n * scale_groups * per_scale; });
    return b;
  }
  // K from `first_k` on, a multiple of 256.
  [[nodiscard]] basic_a_block from(index_t first_k) const noexcept {
    basic_a_block b = *this;
    b.tiles += first_k / tile_k * tile_stride();
    b.for_each_part([&](auto& pointer, index_t per_scale, a_parts)
                        TEGULA_LAMBDA_INLINE { pointer += first_k / scale_k * rows * per_scale; });
    return b;
  }
  // Calls function(pointer, elements of a row per 256 of K, part) for the scales, with part = 0, and each part.
  template <class Function>
  TEGULA_INLINE void for_each_part(Function function) {
    function(scales, 1, a_parts{0});
    function(sums32, sums32_per_scale, a_part::sums32);
    function(offsets16, 2 * sums16_per_scale, a_part::offsets16);
    function(pairs32, pairs_per_scale, a_part::pairs32);
    function(halves32, sums32_per_scale, a_part::halves32);
    function(offsets32, sums32_per_scale, a_part::offsets32);
    function(negatives32, sums32_per_scale, a_part::negatives32);
    function(offsets8, sums8_per_scale, a_part::offsets8);
    function(offset256, 1, a_part::offset256);
    function(bf16_tiles, index_t{scale_k} * 2, a_part::bf16_tiles);
  }
};
template <class T>
using constant_pointer = const T*;
template <class T>
using mutable_pointer = T*;
using a_block = basic_a_block<constant_pointer>;
using mutable_a_block = basic_a_block<mutable_pointer>;

class activation_store {
 public:
  // `parts`: what int8 has besides quants and scales.
  activation_store(a_kind kind, index_t M, index_t K, a_parts parts)
      : kind_(kind),
        parts_(parts),
        M_(M),
        K_(K),
        padded_k_(round_up(K, kind == a_kind::int8 ? index_t{scale_k} : a_tile_k(kind))),
        tiles_(static_cast<std::size_t>(M * row_tile_bytes()) + slack),
        rest_(kind == a_kind::int8 ? place_parts() + slack : 0) {}

  [[nodiscard]] a_kind kind() const noexcept { return kind_; }
  [[nodiscard]] index_t rows() const noexcept { return M_; }
  [[nodiscard]] index_t cols() const noexcept { return K_; }
  [[nodiscard]] index_t blocks() const noexcept { return (M_ + block_rows - 1) / block_rows; }
  [[nodiscard]] bool has(a_parts wanted) const noexcept { return (wanted & ~parts_) == 0; }

  [[nodiscard]] mutable_a_block block(index_t i) noexcept { return locate<mutable_a_block>(i, tiles_.data(), rest_.data()); }
  [[nodiscard]] a_block block(index_t i) const noexcept { return locate<a_block>(i, tiles_.data(), rest_.data()); }

 private:
  // Kernels that work on a strip of rows, or on scales of 16 rows, may read past the last block's end what nobody uses.
  static constexpr std::size_t slack = std::size_t{block_rows} * row_bytes;

  [[nodiscard]] index_t scale_groups() const noexcept { return kind_ == a_kind::int8 ? padded_k_ / scale_k : 0; }
  [[nodiscard]] index_t row_tile_bytes() const noexcept { return padded_k_ / a_tile_k(kind_) * row_bytes; }

  // Finds a place for the scales and each part that there is. Returns the bytes of all.
  std::size_t place_parts() noexcept {
    std::size_t end = 0, *at = part_at_;
    const auto place = [&](auto pointer, index_t per_scale, a_parts part) {
      *at++ = end;
      if (has(part)) end += round_up(static_cast<std::size_t>(M_ * scale_groups() * per_scale) * sizeof *pointer, std::size_t{row_bytes});
    };
    a_block{}.for_each_part(place);
    return end;
  }
  template <class Block, class Byte>
  [[nodiscard]] Block locate(index_t i, Byte* tiles, Byte* rest) const noexcept {
    const index_t first = i * block_rows, left = M_ - first;
    Block b;
    b.rows = left < block_rows ? left : block_rows;
    b.tile_k = a_tile_k(kind_);
    b.row_tile_bytes = row_tile_bytes();
    b.scale_groups = scale_groups();
    b.parts = parts_;
    b.tiles = tiles;
    const std::size_t* at = part_at_;
    b.for_each_part(
        [&](auto& pointer, index_t, a_parts) { pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(rest + *at++); });
    return b.below(first);
  }

  a_kind kind_;
  a_parts parts_;
  index_t M_, K_, padded_k_;
  std::size_t part_at_[a_block::part_count] = {};  // bytes from rest_.data()
  aligned_buffer tiles_, rest_;
};

}  // namespace detail
}  // namespace tegula::inline TEGULA_ABI
