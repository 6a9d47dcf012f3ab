// Between a ggml block and its place in a panel: gathers a block's fields into the panel and scatters them back to the byte.
// Both directions read the same constants of the format, so they cannot disagree.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include "panel.hpp"

namespace tegula::inline TEGULA_ABI::detail {

// Whether the fields of every `count` consecutive k, from a multiple of count, stand in as many consecutive bytes at one shift. In
// ggml's types those of 16 do: then they move together.
template <class F>
constexpr bool fields_in_line(std::size_t plane, int count) {
  for (int k = 0; k < F::block_k; ++k) {
    const bit_position first = F::planes[plane].position(k / count * count), here = F::planes[plane].position(k);
    if (here.byte != first.byte + k % count || here.shift != first.shift) return false;
  }
  return true;
}

typedef std::uint32_t four_quads __attribute__((vector_size(16)));

template <class F, std::size_t Plane>
struct plane_codec {
  static constexpr bit_plane plane = F::planes[Plane];
  static constexpr std::size_t rows = panel_layout<F>::plane_rows(Plane);
  static constexpr std::uint32_t mask = ((1u << plane.bits) - 1u) * 0x01010101u;
  static constexpr std::uint32_t flip = plane.flip * 0x01010101u;
  static constexpr auto positions = [] {
    std::array<bit_position, static_cast<std::size_t>(F::block_k)> table{};
    for (int k = 0; k < F::block_k; ++k) table[static_cast<std::size_t>(k)] = plane.position(k);
    return table;
  }();

  // The fields of quants k .. k + 3, one a byte; or of four such quads.
  template <class Word = std::uint32_t>
  TEGULA_INLINE static Word quad(const unsigned char* block, std::size_t k) noexcept {
    Word word{};
    if constexpr (fields_in_line<F>(Plane, sizeof word)) {
      std::memcpy(&word, block + positions[k].byte, sizeof word);
      word = (word >> positions[k].shift) & mask;
    } else if constexpr (std::is_same_v<Word, four_quads>) {
      for (std::size_t i = 0; i < 4; ++i) word[i] = quad(block, k + 4 * i) ^ flip;
    } else {
      for (std::size_t i = 0; i < 4; ++i)
        word |= ((static_cast<std::uint32_t>(block[positions[k + i].byte]) >> positions[k + i].shift) & mask & 0xffu) << (8 * i);
    }
    return word ^ flip;
  }

  // Adds the fields to a block whose bits there are zero.
  template <class Word>
  TEGULA_INLINE static void put_quad(unsigned char* block, std::size_t k, Word word) noexcept {
    word ^= flip;
    if constexpr (fields_in_line<F>(Plane, sizeof word)) {
      Word there;
      std::memcpy(&there, block + positions[k].byte, sizeof there);
      there |= word << positions[k].shift;
      std::memcpy(block + positions[k].byte, &there, sizeof there);
    } else if constexpr (std::is_same_v<Word, four_quads>) {
      for (std::size_t i = 0; i < 4; ++i) put_quad(block, k + 4 * i, word[i] ^ flip);
    } else {
      for (std::size_t i = 0; i < 4; ++i) {
        const bit_position at = positions[k + i];
        block[at.byte] = static_cast<unsigned char>(block[at.byte] | (((word >> (8 * i)) & 0xffu) << at.shift));
      }
    }
  }
};

// Where one block of 16 columns stands: its first row, and its side fields (words and halves of the super-group). Byte is const or not.
template <class Byte>
struct panel_block {
  Byte* rows;
  Byte* words;
  Byte* d;
  Byte* m;
};

template <quant_format F, class Byte>
panel_block<Byte> locate_block(Byte* panel, index_t block, index_t K) noexcept {
  using layout = panel_layout<F>;
  constexpr index_t per_super = traits<F>::super_blocks;
  const index_t super = block / per_super;
  const std::size_t blocks = layout::super_blocks(super, K), b = static_cast<std::size_t>(block % per_super);
  Byte* base = panel + layout::super_at(super);
  return {base + layout::quants_at(blocks) + b * layout::block_quants, base + b * layout::words * row_bytes,
          base + layout::d_at(blocks) + b * NR * 2, base + layout::m_at(blocks) + b * NR * 2};
}

// Calls function(codec of the plane, its first k, its offset from the block's first row) for all planes of a block.
template <quant_format F, class Function>
TEGULA_INLINE void for_each_plane(Function function) {
  using layout = panel_layout<F>;
  [&]<std::size_t... Plane>(std::index_sequence<Plane...>) {
    TEGULA_UNROLL
    for (std::size_t k = 0; k < F::block_k; k += layout::plane_k) {
      (function(plane_codec<F, Plane>{}, k, k / layout::plane_k * layout::planes_bytes + layout::plane_at(Plane)), ...);
    }
  }(std::make_index_sequence<F::planes.size()>{});
}

// The quants of a block, from and to `rows`, where its column begins.
template <quant_format F>
TEGULA_INLINE void pack_planes(const unsigned char* block, std::byte* rows) noexcept {
  for_each_plane<F>([&](auto codec, std::size_t k, std::size_t at) TEGULA_LAMBDA_INLINE {
    TEGULA_UNROLL
    for (std::size_t r = 0; r < codec.rows; ++r) {
      std::uint32_t word = 0;
      TEGULA_UNROLL
      for (std::size_t t = 0; t < 8 / codec.plane.bits; ++t)
        word |= codec.quad(block, k + 4 * (r + t * codec.rows)) << (t * codec.plane.bits);
      std::memcpy(rows + at + r * row_bytes, &word, 4);
    }
  });
}
template <quant_format F>
TEGULA_INLINE void unpack_planes(const std::byte* rows, unsigned char* block) noexcept {
  for_each_plane<F>([&](auto codec, std::size_t k, std::size_t at) TEGULA_LAMBDA_INLINE {
    TEGULA_UNROLL
    for (std::size_t r = 0; r < codec.rows; ++r) {
      std::uint32_t word;
      std::memcpy(&word, rows + at + r * row_bytes, 4);
      TEGULA_UNROLL
      for (std::size_t t = 0; t < 8 / codec.plane.bits; ++t)
        codec.put_quad(block, k + 4 * (r + t * codec.rows), (word >> (t * codec.plane.bits)) & codec.mask);
    }
  });
}

// The same of joined planes, whose pairs in 32 of K are four quads each of x and y.
template <quant_format F>
TEGULA_INLINE void pack_pairs(const unsigned char* block, std::byte* rows) noexcept {
  using joined = joined_planes<F>;
  TEGULA_UNROLL
  for (std::size_t k = 0; k < F::block_k; k += panel_layout<F>::plane_k, rows += panel_layout<F>::planes_bytes) {
    const auto nibble = [&](std::size_t at) TEGULA_LAMBDA_INLINE { return plane_codec<F, 0>::template quad<four_quads>(block, at); };
    const auto others = [&](std::size_t at) TEGULA_LAMBDA_INLINE { return plane_codec<F, 1>::template quad<four_quads>(block, at); };
    const four_quads y = (nibble(k + 16) | others(k + 16) << 4) << joined::lift;
    const four_quads nibbles = nibble(k) | (y & 0xf0f0f0f0u), middle = others(k) << 4 | (y & 0x0f0f0f0fu);
    std::uint32_t words[joined::pairs + joined::bits] = {};
    TEGULA_UNROLL
    for (unsigned pair = 0; pair < joined::pairs; ++pair) {
      const int up = joined::middle_shift(pair);
      words[pair] = nibbles[pair];
      words[joined::pairs + joined::middle_row(pair)] |= up >= 0 ? middle[pair] << up : middle[pair] >> -up;
    }
    TEGULA_UNROLL
    for (std::size_t row = 0; row < joined::pairs + joined::bits; ++row) std::memcpy(rows + row * row_bytes, &words[row], 4);
  }
}
template <quant_format F>
TEGULA_INLINE void unpack_pairs(const std::byte* rows, unsigned char* block) noexcept {
  using joined = joined_planes<F>;
  TEGULA_UNROLL
  for (std::size_t k = 0; k < F::block_k; k += panel_layout<F>::plane_k, rows += panel_layout<F>::planes_bytes) {
    four_quads nibbles{}, middle{};
    TEGULA_UNROLL
    for (unsigned pair = 0; pair < joined::pairs; ++pair) {
      std::uint32_t word, other;
      std::memcpy(&word, rows + pair * row_bytes, 4);
      std::memcpy(&other, rows + (joined::pairs + joined::middle_row(pair)) * row_bytes, 4);
      const int down = joined::middle_shift(pair);
      nibbles[pair] = word;
      middle[pair] = down >= 0 ? other >> down : other << -down;
    }
    middle &= joined::middle * 0x01010101u;
    const four_quads y = ((nibbles & 0xf0f0f0f0u) | (middle & 0x0f0f0f0fu)) >> joined::lift;
    const auto put = [&](std::size_t at, four_quads low, four_quads high) TEGULA_LAMBDA_INLINE {
      plane_codec<F, 0>::put_quad(block, at, low & 0x0f0f0f0fu);
      plane_codec<F, 1>::put_quad(block, at, (high >> 4) & plane_codec<F, 1>::mask);
    };
    put(k, nibbles, middle);
    put(k + 16, y, y);
  }
}

// Packs one block as column n.
template <quant_format F>
void pack_block(const unsigned char* block, const panel_block<std::byte>& to, std::size_t n) noexcept {
  if constexpr (joined_planes<F>::applies) pack_pairs<F>(block, to.rows + 4 * n);
  else pack_planes<F>(block, to.rows + 4 * n);
  if constexpr (integer_scales<F>)
    for (std::size_t w = 0; w < F::scale_words; ++w) std::memcpy(to.words + w * row_bytes + 4 * n, block + F::scales_at + 4 * w, 4);
  std::memcpy(to.d + 2 * n, block + F::d_at, 2);
  if constexpr (traits<F>::has_min) std::memcpy(to.m + 2 * n, block + F::m_at, 2);
}

// Writes column n of a packed block back as the ggml block that it was.
template <quant_format F>
void unpack_block(const panel_block<const std::byte>& from, std::size_t n, unsigned char* block) noexcept {
  std::memset(block, 0, F::block_bytes);
  if constexpr (joined_planes<F>::applies) unpack_pairs<F>(from.rows + 4 * n, block);
  else unpack_planes<F>(from.rows + 4 * n, block);
  if constexpr (integer_scales<F>)
    for (std::size_t w = 0; w < F::scale_words; ++w) std::memcpy(block + F::scales_at + 4 * w, from.words + w * row_bytes + 4 * n, 4);
  std::memcpy(block + F::d_at, from.d + 2 * n, 2);
  if constexpr (traits<F>::has_min) std::memcpy(block + F::m_at, from.m + 2 * n, 2);
}

// Some columns of a panel.
struct column_range {
  std::size_t first, count;
};

// Rows of W, K weights each as they lie in a GGUF file, packed as columns of a panel; and back. All columns of a block before the
// next block: the panel's lines stay in L1 until they are full.
template <quant_format F>
void pack_columns(const unsigned char* rows, index_t K, std::byte* panel, column_range n) noexcept {
  const auto blocks = static_cast<std::size_t>(K / F::block_k);
  for (std::size_t b = 0; b < blocks; ++b) {
    const auto to = locate_block<F>(panel, static_cast<index_t>(b), K);
    for (std::size_t i = 0; i < n.count; ++i) pack_block<F>(rows + (i * blocks + b) * F::block_bytes, to, n.first + i);
  }
}
template <quant_format F>
void unpack_columns(const std::byte* panel, column_range n, index_t K, unsigned char* rows) noexcept {
  const auto blocks = static_cast<std::size_t>(K / F::block_k);
  for (std::size_t b = 0; b < blocks; ++b) {
    const auto from = locate_block<F>(panel, static_cast<index_t>(b), K);
    for (std::size_t i = 0; i < n.count; ++i) unpack_block<F>(from, n.first + i, rows + (i * blocks + b) * F::block_bytes);
  }
}

// Calls move(offset in `rows`, offset in the panel, integral_constant of bytes) for all that stays together of these columns: k_step
// elements. In pieces of K whose part of the panel stays in L1.
template <float_format F, class Move>
TEGULA_INLINE void for_each_unit(index_t K, column_range n, Move move) {
  constexpr std::size_t size = sizeof(typename F::element), unit = size * panel_layout<F>::k_step, piece = 64;
  const std::size_t row = static_cast<std::size_t>(K) * size, units = row / unit;
  for (std::size_t u0 = 0; u0 < units; u0 += piece)
    for (std::size_t i = 0; i < n.count; ++i) {
      const std::size_t last = units - u0 < piece ? units : u0 + piece;
#pragma GCC unroll 8
      for (std::size_t u = u0; u < last; ++u)
        move(i * row + u * unit, (u * NR + n.first + i) * unit, std::integral_constant<std::size_t, unit>{});
    }
  if (units * unit == row) return;
  for (std::size_t i = 0; i < n.count; ++i)
    move(i * row + units * unit, (units * NR + n.first + i) * unit, std::integral_constant<std::size_t, size>{});
}

// The same of bytes: scales, and four k.
template <byte_format F, class Move>
TEGULA_INLINE void for_each_unit(index_t K, column_range n, Move move) {
  constexpr std::integral_constant<std::size_t, 4> unit;
  const auto blocks = static_cast<std::size_t>(K / F::block_k);
  for (std::size_t b = 0; b < blocks; ++b)
    for (std::size_t i = 0; i < n.count; ++i) {
      const std::size_t block = (i * blocks + b) * F::block_bytes, column = b * sizeof(byte_block) + (n.first + i) * unit;
      move(block + F::d_at, column + offsetof(byte_block, scales), unit);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < F::block_k / 4; ++r)
        move(block + F::quants_at + r * unit, column + offsetof(byte_block, rows) + r * row_bytes, unit);
    }
}

template <block_format F>
  requires(!quant_format<F>)
void pack_columns(const unsigned char* rows, index_t K, std::byte* panel, column_range n) noexcept {
  for_each_unit<F>(
      K, n, [&](std::size_t from, std::size_t to, auto bytes) TEGULA_LAMBDA_INLINE { std::memcpy(panel + to, rows + from, bytes()); });
}
template <block_format F>
  requires(!quant_format<F>)
void unpack_columns(const std::byte* panel, column_range n, index_t K, unsigned char* rows) noexcept {
  for_each_unit<F>(
      K, n, [&](std::size_t to, std::size_t from, auto bytes) TEGULA_LAMBDA_INLINE { std::memcpy(rows + to, panel + from, bytes()); });
}

}  // namespace tegula::inline TEGULA_ABI::detail
