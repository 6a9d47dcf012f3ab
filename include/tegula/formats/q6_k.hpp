// Q6_K: blocks of 256 in 16 groups of 16, weight = d * scale[g] * (q - 32), scale int8.
// 210 bytes: low nibbles 128 bytes | high two bits 64 bytes | scales 16 bytes | d f16. Each half of the block (128 weights, four
// quarters of 32) has 64 bytes of nibbles, quarters 0 and 2, then 1 and 3 sharing a byte, and 32 bytes of high bits.
#pragma once

#include "block_format.hpp"

namespace tegula::inline TEGULA_ABI {

struct q6_k {
  static constexpr type_id id{14};
  static constexpr const char* name = "q6_k";
  static constexpr int block_k = 256, block_bytes = 210, group_k = 16, offset = 32;
  static constexpr int d_at = 208, m_at = -1;
  static constexpr std::array planes{
      bit_plane{4, [](int k) { return bit_position{k / 128 * 64 + k / 32 % 2 * 32 + k % 32, k / 64 % 2 * 4}; }},
      bit_plane{2, [](int k) { return bit_position{128 + k / 128 * 32 + k % 32, k / 32 % 4 * 2}; }}};

  static constexpr int scales_at = 192, scale_words = 4;
  static constexpr bool signed_scales = true;
  static constexpr std::array<scale_code, 4> scale_codes{{{{{0, 0, 8}, {}}}, {{{1, 0, 8}, {}}}, {{{2, 0, 8}, {}}}, {{{3, 0, 8}, {}}}}};
  static constexpr std::array<scale_code, 0> min_codes{};
};

}  // namespace tegula::inline TEGULA_ABI
