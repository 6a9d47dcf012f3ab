// What a weight format is: a plain struct of constants that says where a ggml block keeps its quants and its scales. It holds
// no intrinsic and no loop: packing, decoding and the kernels of every ISA are derived from these constants.
//
// Three kinds exist. A float_format is an element type (f32, f16, bf16). A byte_format has blocks of 256 signed bytes with a float scale,
// weight = d * q: its products are int8 products as they stand. A quant_format has blocks of block_k weights:
//
//   weight = d * scale[g] * (quant - offset)  [ - dmin * min[g]   integer_scales: 8-bit scales per group, d per block ]
//   weight = d * (quant - offset)             [ + m               float_scales:   a group is a block                  ]
//
// A quant is the sum of its bit planes, each an unsigned field, lowest plane first.
#pragma once

#include <array>
#include <concepts>

#include "../core/types.hpp"

namespace tegula::inline TEGULA_ABI {

// The field of quant k of a block: `shift` bits up in byte `byte` of the block.
struct bit_position {
  int byte, shift;
};

struct bit_plane {
  int bits;                                 // 1, 2, 4 or 8
  bit_position (*position)(int k);          // of each quant
  std::uint8_t flip = 0;                    // xored with the field: 0x80 turns a signed byte into quant - 128
};

// Scales of four groups at a time, one in each byte of a 32-bit word: word `word` of the block's scale words, shifted right by
// `shift`, the low `bits` of each byte kept, shifted left by `to`. A scale in two pieces has two of these.
struct byte_field {
  int word, shift, bits, to = 0;
};
using scale_code = std::array<byte_field, 2>;  // a second piece with bits = 0 is none

template <class F>
concept float_format = requires {
  { F::id } -> std::convertible_to<type_id>;
  { F::name } -> std::convertible_to<const char*>;
  typename F::element;
};

template <class F>
concept quant_format = requires {
  { F::id } -> std::convertible_to<type_id>;
  { F::name } -> std::convertible_to<const char*>;
  { F::block_k } -> std::convertible_to<int>;      // weights a block
  { F::block_bytes } -> std::convertible_to<int>;
  { F::offset } -> std::convertible_to<int>;       // what a quant of zero weight is stored as
  { F::planes[0] } -> std::convertible_to<bit_plane>;
  { F::group_k } -> std::convertible_to<int>;      // weights that share a scale
  { F::d_at } -> std::convertible_to<int>;         // byte of the block where the f16 scale stands
  { F::m_at } -> std::convertible_to<int>;         // of the f16 minimum (or its scale); -1: the format has none
};

template <class F>
concept integer_scales = quant_format<F> && requires {
  { F::scales_at } -> std::convertible_to<int>;        // byte of the block where the scale words start
  { F::scale_words } -> std::convertible_to<int>;      // 32-bit words of scales (and minima)
  { F::scale_codes[0] } -> std::convertible_to<scale_code>;  // one for every four groups
  { F::min_codes } ;                                   // the same for the minima; empty if there are none
  { F::signed_scales } -> std::convertible_to<bool>;
};

template <class F>
concept float_scales = quant_format<F> && !integer_scales<F>;

template <class F>
concept byte_format = requires {
  { F::id } -> std::convertible_to<type_id>;
  { F::name } -> std::convertible_to<const char*>;
  { F::block_k } -> std::convertible_to<int>;      // 256
  { F::block_bytes } -> std::convertible_to<int>;
  { F::d_at } -> std::convertible_to<int>;         // byte of the block where the f32 scale stands
  { F::quants_at } -> std::convertible_to<int>;    // where the quants start, in the order of k
};

template <class F>
concept quantized_format = quant_format<F> || byte_format<F>;

template <class F>
concept block_format = float_format<F> || quantized_format<F>;

namespace detail {

// Whether each bit of a block belongs to exactly one field. Then packing keeps every bit, and unpacking restores the block.
template <quant_format F>
constexpr bool covers_block() {
  std::array<int, static_cast<std::size_t>(F::block_bytes)> seen{};  // bits of each byte
  bool fits = true;
  const auto take = [&](int byte, int bits) {
    fits = fits && byte >= 0 && byte < F::block_bytes && (seen[static_cast<std::size_t>(byte)] & bits) == 0;
    if (fits) seen[static_cast<std::size_t>(byte)] |= bits;
  };
  for (const bit_plane& plane : F::planes) {
    fits = fits && (plane.bits == 1 || plane.bits == 2 || plane.bits == 4 || plane.bits == 8);
    for (int k = 0; k < F::block_k; ++k) take(plane.position(k).byte, ((1 << plane.bits) - 1) << plane.position(k).shift);
  }
  for (int i = 0; i < 2; ++i) {
    take(F::d_at + i, 255);
    if (F::m_at >= 0) take(F::m_at + i, 255);
  }
  if constexpr (integer_scales<F>)
    for (int i = 0; i < 4 * F::scale_words; ++i) take(F::scales_at + i, 255);
  for (const int bits : seen) fits = fits && bits == 255;
  return fits;
}

// Facts that follow from a format's constants.
template <class F>
struct traits;

template <float_format F>
struct traits<F> {
  static constexpr int block_k = 1;
  static constexpr int block_bytes = sizeof(typename F::element);
};

template <quant_format F>
struct traits<F> {
  static constexpr int block_k = F::block_k;
  static constexpr int block_bytes = F::block_bytes;
  static constexpr int bits = [] {
    int sum = 0;
    for (const bit_plane& plane : F::planes) sum += plane.bits;
    return sum;
  }();
  static constexpr int max_quant = (1 << bits) - 1;
  static constexpr bool has_min = F::m_at >= 0;
  static constexpr int groups = F::block_k / F::group_k;
  // The unit of exact mode's order: 256 weights where a float scale serves 256, else 128, four blocks of 32.
  static constexpr int super_blocks = F::block_k == 32 ? 4 : 1;
  static constexpr int super_k = super_blocks * F::block_k;

  static_assert(F::block_k == 32 || F::block_k == 256, "kernels know blocks of 32 and 256 weights");
  static_assert(F::group_k == 16 || F::group_k == 32, "kernels know groups of 16 and 32 weights");
  static_assert(integer_scales<F> || F::group_k == F::block_k, "a float scale serves a whole block");
  static_assert(bits <= 8 && F::offset >= 0 && max_quant - F::offset <= 127 && F::offset <= 128, "quant - offset must fit int8");
  static_assert(bits < 8 || F::offset == 128, "quants of 8 bits are signed bytes");
  static_assert(has_min ? F::group_k == 32 && F::offset == 0 : integer_scales<F> != (F::group_k == 32),
                "kernels know minima over groups of 32, and integer scales without minima over groups of 16");
  static_assert(covers_block<F>(), "planes, scales, d and m must cover every bit of the block once");
};

template <byte_format F>
struct traits<F> {
  static constexpr int block_k = F::block_k, super_k = F::block_k;
  static constexpr int block_bytes = F::block_bytes;

  static_assert(block_k == 256, "activations have a scale per 256 as well: products are of whole blocks");
  static_assert(block_bytes == 260 && (F::d_at == 0 ? F::quants_at == 4 : F::d_at == 256 && F::quants_at == 0),
                "d and the quants must cover the block");
};

}  // namespace detail
}  // namespace tegula::inline TEGULA_ABI
