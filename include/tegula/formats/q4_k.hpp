// Q4_K: blocks of 256 in 8 groups of 32, weight = d * scale[g] * q - dmin * min[g], scale and min of 6 bits.
// 144 bytes: d f16 | dmin f16 | scales and mins 12 bytes | q 128 bytes, groups 2i and 2i + 1 share 32 bytes, low nibbles first.
#pragma once

#include "block_format.hpp"

namespace tegula::inline TEGULA_ABI {

struct q4_k {
  static constexpr type_id id{12};
  static constexpr const char* name = "q4_k";
  static constexpr int block_k = 256, block_bytes = 144, group_k = 32, offset = 0;
  static constexpr int d_at = 0, m_at = 2;
  static constexpr std::array planes{bit_plane{4, [](int k) { return bit_position{16 + k / 64 * 32 + k % 32, k / 32 % 2 * 4}; }}};

  // Groups 0 - 3 keep their 6 bits in words 0 (scales) and 1 (mins), whose two spare bits a byte serve groups 4 - 7 as their
  // high bits; word 2 has the low nibbles of these, scales below mins.
  static constexpr int scales_at = 4, scale_words = 3;
  static constexpr bool signed_scales = false;
  static constexpr std::array<scale_code, 2> scale_codes{{{{{0, 0, 6}, {}}}, {{{2, 0, 4}, {0, 6, 2, 4}}}}};
  static constexpr std::array<scale_code, 2> min_codes{{{{{1, 0, 6}, {}}}, {{{2, 4, 4}, {1, 6, 2, 4}}}}};
};

}  // namespace tegula::inline TEGULA_ABI
