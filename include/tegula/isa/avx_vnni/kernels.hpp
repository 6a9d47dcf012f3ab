// The kernels for AVX-VNNI beside AVX2: generic/ on the dot products of simd.inl. All that multiplies no integers is avx2's.
#pragma once

#include "../avx2/kernels.hpp"

// The same region as avx2's: the dot products are asm and need no flag.
TEGULA_BEGIN_TARGET("avx2,fma,f16c,popcnt")
namespace tegula::inline TEGULA_ABI::avx_vnni {

#include "simd.inl"
#include "../avx2/expand.inl"
#include "../generic/kernels.inl"

using integer_kernels = generic_kernels;

struct kernels : avx2::kernels {
  template <block_format F, compute Mode>
  static constexpr isa runs = float_format<F> || Mode == compute::bf16 ? isa::avx2 : isa::avx_vnni;  // whose kernel serves F

  template <quantized_format F, compute Mode>
  static constexpr t::a_parts reads = integer_kernels::reads<F, Mode>;

  template <block_format F, compute Mode, bool Sparse, class T, class Epilogue>
  static void run(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> c,
                  const Epilogue& epilogue) {
    if constexpr (runs<F, Mode> == isa::avx2) avx2::kernels::run<F, Mode, Sparse>(a, range, w, c, epilogue);
    else integer_kernels::run<F, Mode, Sparse>(a, range, w, c, epilogue);
  }
};

}  // namespace tegula::inline TEGULA_ABI::avx_vnni
TEGULA_END_TARGET
