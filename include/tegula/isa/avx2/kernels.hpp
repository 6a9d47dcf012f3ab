// The kernels for AVX2, FMA and F16C: generic/ on the vectors of simd.inl.
#pragma once

#include <immintrin.h>

#include "../../core/epilogue.hpp"
#include "../../core/options.hpp"
#include "../../core/softmax_parts.hpp"
#include "../../cpu.hpp"
#include "../../pack/activations.hpp"
#include "../../pack/block_codec.hpp"
#include "../../pack/sparse_panel.hpp"

TEGULA_BEGIN_TARGET("avx2,fma,f16c,popcnt")
namespace tegula::inline TEGULA_ABI::avx2 {

#include "simd.inl"
#include "expand.inl"
#include "../generic/kernels.inl"

struct kernels : generic_kernels {
  template <block_format F, compute Mode>
  static constexpr isa runs = isa::avx2;  // whose kernel serves F
};

}  // namespace tegula::inline TEGULA_ABI::avx2
TEGULA_END_TARGET
