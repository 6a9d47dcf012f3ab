// Q5_K: Q4_K with a fifth bit.
// 176 bytes: d f16 | dmin f16 | scales and mins 12 bytes | fifth bits 32 bytes, bit g of byte k for group g | q 128 bytes.
#pragma once

#include "q4_k.hpp"

namespace tegula::inline TEGULA_ABI {

struct q5_k {
  static constexpr type_id id{13};
  static constexpr const char* name = "q5_k";
  static constexpr int block_k = 256, block_bytes = 176, group_k = 32, offset = 0;
  static constexpr int d_at = 0, m_at = 2;
  static constexpr std::array planes{bit_plane{4, [](int k) { return bit_position{48 + k / 64 * 32 + k % 32, k / 32 % 2 * 4}; }},
                                     bit_plane{1, [](int k) { return bit_position{16 + k % 32, k / 32}; }}};

  static constexpr int scales_at = 4, scale_words = 3;
  static constexpr bool signed_scales = false;
  static constexpr auto scale_codes = q4_k::scale_codes;
  static constexpr auto min_codes = q4_k::min_codes;
};

}  // namespace tegula::inline TEGULA_ABI
