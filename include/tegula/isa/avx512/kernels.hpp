// The kernels for AVX-512 F, BW, DQ, VL and VNNI: generic/ on the vectors of simd.inl.
#pragma once

#include <immintrin.h>

#include "../../core/epilogue.hpp"
#include "../../core/options.hpp"
#include "../../core/softmax_parts.hpp"
#include "../../cpu.hpp"
#include "../../pack/activations.hpp"
#include "../../pack/block_codec.hpp"
#include "../../pack/sparse_panel.hpp"

TEGULA_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,popcnt")
namespace tegula::inline TEGULA_ABI::avx512 {

#include "simd.inl"
#include "expand.inl"
#include "../generic/kernels.inl"

struct kernels : generic_kernels {
  template <block_format F, compute Mode>
  static constexpr isa runs = isa::avx512;  // whose kernel serves F
};

}  // namespace tegula::inline TEGULA_ABI::avx512
TEGULA_END_TARGET
