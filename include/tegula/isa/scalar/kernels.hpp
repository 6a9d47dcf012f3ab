// The kernels for plain C++, on every platform: generic/ on the vectors of simd.inl.
#pragma once

#include "../../core/epilogue.hpp"
#include "../../core/options.hpp"
#include "../../core/softmax_parts.hpp"
#include "../../cpu.hpp"
#include "../../pack/activations.hpp"
#include "../../pack/block_codec.hpp"
#include "../../pack/sparse_panel.hpp"

TEGULA_BEGIN_PRECISE
namespace tegula::inline TEGULA_ABI::scalar {

#include "simd.inl"
#include "expand.inl"
#include "../generic/kernels.inl"

struct kernels : generic_kernels {
  template <block_format F, compute Mode>
  static constexpr isa runs = isa::scalar;  // whose kernel serves F
};

}  // namespace tegula::inline TEGULA_ABI::scalar
TEGULA_END_PRECISE
