// All of generic/, in order, and what dispatch.hpp calls. Re-included inside each ISA's namespace and target region.

#include "base.inl"
#include "weights.inl"
#include "exact.inl"
#include "float.inl"
#include "bf16_weights.inl"
#include "requantized.inl"
#include "activations.inl"
#include "dequantize.inl"
#include "macrokernel.inl"
#include "task.inl"

struct generic_kernels {
  template <class T>
  static void prepare(matrix_view<const T> a, index_t first_row, t::a_kind kind, const t::mutable_a_block& block) noexcept {
    if (kind == t::a_kind::int8) quantize_rows(a, first_row, block);
    else convert_rows(a, first_row, kind, block);
  }
  template <block_format F>
  static void dequantize(const std::byte* blocks, float* out, index_t count) noexcept {
    dequantize_blocks<F>(blocks, out, count);
  }
  template <block_format F, compute Mode, class T, class Epilogue>
  static void run(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> c,
                  const Epilogue& epilogue) {
    if constexpr (Mode == compute::bf16) run_panels<1, false>(a, range, w, c, epilogue, bf16_macrokernel<F>);
    else if constexpr (Mode == compute::requantized) run_panels<1, false>(a, range, w, c, epilogue, requantized_macrokernel<F>);
    else run_panels<quant_format<F> ? exact_panels : 1, false>(a, range, w, c, epilogue, exact_macrokernel<F>);
  }
};
