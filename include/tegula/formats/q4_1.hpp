// Q4_1: blocks of 32, weight = d * q + m.  20 bytes: d f16 | m f16 | q 16 bytes as in Q4_0.
#pragma once

#include "block_format.hpp"

namespace tegula::inline TEGULA_ABI {

struct q4_1 {
  static constexpr type_id id{3};
  static constexpr const char* name = "q4_1";
  static constexpr int block_k = 32, block_bytes = 20, group_k = 32, offset = 0;
  static constexpr int d_at = 0, m_at = 2;
  static constexpr std::array planes{bit_plane{4, [](int k) { return bit_position{4 + k % 16, k / 16 * 4}; }}};
};

}  // namespace tegula::inline TEGULA_ABI
