// Q8_256: blocks of 256, weight = d * q, q signed.  260 bytes: d f32 | q 256 bytes. tegula's own type: no GGUF file has it.
// One int8 dot product per 256 of K and nothing to unpack: the fastest exact type. tg::quantize() makes it from floats.
#pragma once

#include "block_format.hpp"

namespace tegula::inline TEGULA_ABI {

struct q8_256 {
  static constexpr type_id id{0x10000};
  static constexpr const char* name = "q8_256";
  static constexpr int block_k = 256, block_bytes = 260;
  static constexpr int d_at = 0, quants_at = 4;
};

}  // namespace tegula::inline TEGULA_ABI
