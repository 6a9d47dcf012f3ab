// Q8_0: blocks of 32, weight = d * q, q signed.  34 bytes: d f16 | q 32 bytes.
#pragma once

#include "block_format.hpp"

namespace tegula::inline TEGULA_ABI {

struct q8_0 {
  static constexpr type_id id{8};
  static constexpr const char* name = "q8_0";
  static constexpr int block_k = 32, block_bytes = 34, group_k = 32, offset = 128;
  static constexpr int d_at = 0, m_at = -1;
  static constexpr std::array planes{bit_plane{8, [](int k) { return bit_position{2 + k, 0}; }, 0x80}};
};

}  // namespace tegula::inline TEGULA_ABI
