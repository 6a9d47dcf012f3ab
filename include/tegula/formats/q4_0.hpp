// Q4_0: blocks of 32, weight = d * (q - 8).  18 bytes: d f16 | q 16 bytes, quant k and k + 16 share a byte, low nibble first.
#pragma once

#include "block_format.hpp"

namespace tegula::inline TEGULA_ABI {

struct q4_0 {
  static constexpr type_id id{2};
  static constexpr const char* name = "q4_0";
  static constexpr int block_k = 32, block_bytes = 18, group_k = 32, offset = 8;
  static constexpr int d_at = 0, m_at = -1;
  static constexpr std::array planes{bit_plane{4, [](int k) { return bit_position{2 + k % 16, k / 16 * 4}; }}};
};

}  // namespace tegula::inline TEGULA_ABI
