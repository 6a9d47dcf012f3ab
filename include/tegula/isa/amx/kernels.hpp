// The kernels for AMX with INT8 and BF16: tiles for the products, avx512's vectors for unpacking and draining. Exact products of
// float weights have no tile instruction; they run avx512's kernels.
#pragma once

#include "../avx512/kernels.hpp"
#include "tile.hpp"

// The same region as avx512's: its functions inline into these and the other way round. The tile instructions are asm and need no flag.
TEGULA_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,popcnt")
namespace tegula::inline TEGULA_ABI::amx {

using namespace avx512;  // the vector vocabulary and generic/, which this ISA contains

#include "rows.inl"
#include "one_plane.inl"
#include "two_planes.inl"
#include "groups.inl"
#include "bf16.inl"
#include "sparse.inl"
#include "macrokernel.inl"

// The macro-kernel of a format and mode, and how many panels it takes at a time.
template <block_format F, compute Mode>
struct tile_macrokernel_of {
  static constexpr int panels = Mode == compute::exact && integer_scales<F> ? 1 : 2;
  static constexpr auto call = [] {
    if constexpr (Mode == compute::bf16) return &tile_macrokernel<bf16_kernel<F>>;
    else if constexpr (Mode == compute::requantized || byte_format<F>) return &tile_macrokernel<byte_kernel<F>>;
    else if constexpr (float_scales<F>) return &tile_macrokernel<group_kernel<F>>;
    else return &tile_macrokernel<plane_kernel<F>>;
  }();
};

// The same of sparse panels: kernels that expand them into their tiles, or the dense kernel, on pieces that are expanded before.
template <block_format F, compute Mode>
struct sparse_tile_macrokernel_of {
  static constexpr int panels = sparse_panels;
  static constexpr auto call = [] {
    if constexpr (float_format<F>) return &tile_macrokernel<sparse_bf16_kernel<F>>;
    else if constexpr (byte_format<F> && Mode != compute::bf16) return &tile_macrokernel<sparse_byte_kernel<F>>;
    else return sparse_macrokernel_of<F, tile_macrokernel_of<F, Mode>>::call;
  }();
};

struct kernels : avx512::kernels {
  template <block_format F, compute Mode>
  static constexpr isa runs = float_format<F> && Mode == compute::exact ? isa::avx512 : isa::amx;

  template <quantized_format F, compute Mode>
  static constexpr t::a_parts reads = [] {
    if constexpr (Mode != compute::exact || byte_format<F>) return t::a_parts{0};
    else if constexpr (float_scales<F>) return group_kernel<F>::reads;
    else return plane_kernel<F>::reads;
  }();

  template <block_format F, compute Mode, bool Sparse, class T, class Epilogue>
  static void run(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> c,
                  const Epilogue& epilogue) {
    using kernel = std::conditional_t<Sparse, sparse_tile_macrokernel_of<F, Mode>, tile_macrokernel_of<F, Mode>>;
    if constexpr (runs<F, Mode> != isa::amx) avx512::kernels::run<F, Mode, Sparse>(a, range, w, c, epilogue);
    else run_panels<kernel::panels, true>(a, range, w, c, epilogue, kernel::call);
  }
};

}  // namespace tegula::inline TEGULA_ABI::amx
TEGULA_END_TARGET
