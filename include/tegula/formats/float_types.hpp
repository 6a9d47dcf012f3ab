// F32, F16, BF16: weights that are not quantized. f16 and bf16 are the element types of core/types.hpp.
#pragma once

#include "block_format.hpp"

namespace tegula::inline TEGULA_ABI {

struct f32 {
  static constexpr type_id id{0};
  static constexpr const char* name = "f32";
  using element = float;
};

}  // namespace tegula::inline TEGULA_ABI
