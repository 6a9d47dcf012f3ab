// All of generic/, in order, and what dispatch.hpp calls. Re-included inside each ISA's namespace and target region.

#include "base.inl"
#include "weights.inl"
#include "exact.inl"
#include "float.inl"
#include "bf16_weights.inl"
#include "int8.inl"
#include "requantized.inl"
#include "activations.inl"
#include "dequantize.inl"
#include "quantize.inl"
#include "macrokernel.inl"
#include "sparse.inl"
#include "sparse_floats.inl"
#include "sparse_quants.inl"
#include "sparse_macrokernel.inl"
#include "task.inl"
#include "softmax.inl"

// The macro-kernel of a format and mode, and how many panels it takes at a time.
template <block_format F, compute Mode>
struct macrokernel_of {
  static constexpr int panels = Mode == compute::exact && !byte_format<F> ? exact_panels : 1;
  static constexpr auto call = [] {
    if constexpr (Mode == compute::bf16) return &bf16_macrokernel<F>;
    else if constexpr (Mode == compute::requantized && quant_format<F>) return &requantized_macrokernel<F>;
    else return &exact_macrokernel<F>;
  }();
  // Few rows of A times sparse panels.
  TEGULA_INLINE static void from_sparse(const block_product& p) requires(Mode == compute::exact && expanded_rows<F> != 0) {
    exact_from_sparse<F>(p);
  }
};

// The form of a macro-kernel for sparse panels.
template <block_format F, class Dense>
struct sparse_macrokernel_of {
  static constexpr int panels = sparse_panels;
  static constexpr auto call = &sparse_macrokernel<F, Dense>;
};

struct generic_kernels {
  // Which parts of A's quantized form a product reads.
  template <quantized_format F, compute Mode>
  static constexpr t::a_parts reads = [] {
    if constexpr (Mode == compute::exact && quant_format<F>) return exact_parts<F>;
    else return int8_parts;
  }();

  template <class T>
  static void prepare(matrix_view<const T> a, index_t first_row, t::a_kind kind, const t::mutable_a_block& block) noexcept {
    if (kind == t::a_kind::int8) quantize_rows(a, first_row, block);
    else convert_rows(a, first_row, kind, block);
  }
  template <block_format F>
  static void dequantize(const std::byte* blocks, float* out, index_t count) noexcept {
    dequantize_blocks<F>(blocks, out, count);
  }
  template <byte_format F>
  static void quantize(const float* weights, std::byte* blocks, index_t count) noexcept {
    quantize_blocks<F>(weights, blocks, count);
  }
  template <block_format F, compute Mode, bool Sparse, class T, class Epilogue>
  static void run(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> c,
                  const Epilogue& epilogue) {
    run_kernel<F, macrokernel_of<F, Mode>, Sparse>(a, range, w, c, epilogue);
  }
  // A part of a softmax: of `count` scores, a multiple of 16, those of first .. last - 1 become weights e^(score * scale - largest), the
  // others 0.
  static void softmax(float* scores, index_t count, index_t first, index_t last, float scale, float& largest, float& sum) noexcept {
    scale_and_mask(scores, count, first, last, scale);
    largest = largest_score(scores, count);
    sum = weights_of_scores(scores, count, largest);
  }
  template <class T>
  static void join(const t::softmax_parts& parts, index_t count, index_t row, T* out, index_t columns) noexcept {
    join_parts(parts, count, row, out, columns);
  }

 protected:
  template <block_format F, class Dense, bool Sparse, class T, class Epilogue>
  static void run_kernel(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> c,
                         const Epilogue& epilogue) {
    using kernel = std::conditional_t<Sparse, sparse_macrokernel_of<F, Dense>, Dense>;
    run_panels<kernel::panels, false>(a, range, w, c, epilogue, kernel::call);
  }
};
