// The kernels for AMX with INT8 and BF16: tiles for the products, avx512's vectors for unpacking and draining. Exact products of
// float weights have no tile instruction; they run avx512's kernels.
#pragma once

#include "../avx512/kernels.hpp"
#include "tile.hpp"

// The same region as avx512's: its functions inline into these and the other way round. The tile instructions are asm and need no flag.
TEGULA_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
namespace tegula::inline TEGULA_ABI::amx {

using namespace avx512;  // the vector vocabulary and generic/, which this ISA contains

#include "rows.inl"
#include "one_plane.inl"
#include "two_planes.inl"
#include "groups.inl"
#include "bf16.inl"
#include "macrokernel.inl"

struct kernels : avx512::kernels {
  template <block_format F, compute Mode>
  static constexpr isa runs = float_format<F> && Mode == compute::exact ? isa::avx512 : isa::amx;

  template <block_format F, compute Mode, class T, class Epilogue>
  static void run(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> c,
                  const Epilogue& epilogue) {
    if constexpr (runs<F, Mode> != isa::amx) avx512::kernels::run<F, Mode>(a, range, w, c, epilogue);
    else if constexpr (Mode == compute::bf16) run_panels<2, true>(a, range, w, c, epilogue, tile_macrokernel<bf16_kernel<F>>);
    else if constexpr (Mode == compute::requantized) run_panels<2, true>(a, range, w, c, epilogue, tile_macrokernel<byte_kernel<F>>);
    else if constexpr (float_scales<F>) run_panels<2, true>(a, range, w, c, epilogue, tile_macrokernel<group_kernel<F>>);
    else run_panels<1, true>(a, range, w, c, epilogue, tile_macrokernel<plane_kernel<F>>);
  }
};

}  // namespace tegula::inline TEGULA_ABI::amx
TEGULA_END_TARGET
