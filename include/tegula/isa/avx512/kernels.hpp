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
#include "bf16.inl"

struct kernels : generic_kernels {
  template <block_format F, compute Mode>
  static constexpr isa runs = isa::avx512;  // whose kernel serves F

  // bf16 mode multiplies pairs where that pays: no ISA of its own, as all else stays the same.
  template <block_format F, compute Mode, bool Sparse, class T, class Epilogue>
  static void run(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> c,
                  const Epilogue& epilogue) {
    if constexpr (Mode == compute::bf16) {
      if (cpu_report().bf16_pairs) return run_kernel<F, pair_macrokernel_of<F>, Sparse>(a, range, w, c, epilogue);
    }
    generic_kernels::run<F, Mode, Sparse>(a, range, w, c, epilogue);
  }
};

}  // namespace tegula::inline TEGULA_ABI::avx512
TEGULA_END_TARGET
