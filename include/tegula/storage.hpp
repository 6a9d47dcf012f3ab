// Dense or sparse: which form of a matrix multiplies sooner where it will be used, and a matrix that is either.
#pragma once

#include "gemm.hpp"

namespace tegula::inline TEGULA_ABI {

// Where the products with a matrix happen.
struct weight_use {
  index_t M = 1;                     // rows of A
  std::size_t working_set = 0;       // bytes of all dense weights that are read in turn, as a model's are; 0: of this matrix alone
  std::optional<tegula::isa> isa{};  // unset: the best
};

namespace detail {

// Where sparse weights that come from memory are at least 5 % faster than dense ones: for a type, on an ISA and those after it, with few
// rows of A, up to a density. What is not listed is faster dense. Measured on one thread of an AMD EPYC (Zen 4), F16 taken as BF16 and AMX
// as AVX-512, by
//   tegula_bench --sparsity 30,50,70,90 --m 1,4,16,64 --compute exact --isa avx512,avx2 --benchmark_filter=gemm
struct sparse_limit {
  type_id type;
  isa from;
  index_t rows;
  double density;
};
inline constexpr sparse_limit sparse_limits[] = {
    {f16::id, isa::avx512, 4, 0.7},
    {bf16::id, isa::avx512, 4, 0.7},
};

// The highest density at which sparse weights are faster; 0: none.
constexpr double densest_sparse(type_id type, isa which, index_t M) {
  double densest = 0;
  for (const sparse_limit& limit : sparse_limits)
    if (limit.type == type && limit.from <= which && M <= limit.rows && limit.density > densest) densest = limit.density;
  return densest;
}

// Bytes of the largest cache that CPUID names; 0: it names none.
inline std::size_t largest_cache(const cpu_probe& probe) {
  std::size_t largest = 0;
  for (const auto& [leaf, list] : {std::pair{0u, 4u}, std::pair{0x80000000u, 0x8000001du}}) {  // Intel's list, AMD's
    const std::uint32_t last = probe.cpuid(leaf, 0).eax;
    for (std::uint32_t i = 0; last >= list && i < 16; ++i) {
      const cpuid_registers cache = probe.cpuid(list, i);
      if ((cache.eax & 31u) == 0) break;
      const std::size_t ways = (cache.ebx >> 22) + 1, partitions = (cache.ebx >> 12 & 1023u) + 1, line = (cache.ebx & 4095u) + 1;
      const std::size_t bytes = ways * partitions * line * (std::size_t{cache.ecx} + 1);
      if (bytes > largest) largest = bytes;
    }
  }
  return largest;
}

inline bool stays_in_cache(std::size_t bytes) {
  static const std::size_t cache = largest_cache(native_probe);
  return bytes <= cache;
}

}  // namespace detail

// Whether in exact mode a sparse matrix of this density (kept weights / (N * K)) is faster than the dense one: not in cache, where bytes
// cost little, and not above the density at which expanding costs more than the bytes that it saves.
template <sparse_format F>
bool sparse_pays(weight_shape shape, double density, const weight_use& use = {}) {
  const std::size_t own = static_cast<std::size_t>(detail::panel_count(shape.N)) * detail::panel_layout<F>::panel_bytes(shape.K);
  if (detail::stays_in_cache(use.working_set > own ? use.working_set : own)) return false;
  const double densest = detail::densest_sparse(F::id, detail::isa_for_storage<true>(use.isa.value_or(best_isa())), use.M);
  return densest > 0 && density <= densest;
}

// Weights that compress() would keep / (N * K); 0 for an empty matrix. Arguments and errors as for compress.
template <sparse_format F, class Executor = serial_executor>
  requires whole_executor<Executor>
double density_of(const void* blocks, weight_shape shape, Executor&& executor = {}) {
  detail::check_shape<F>(shape);
  detail::check_source(blocks, shape);
  std::vector<std::size_t> nonzeros(static_cast<std::size_t>(detail::panel_count(shape.N)));
  detail::for_each_packed<F>(blocks, shape, executor, [&](index_t panel, const std::byte* packed) {
    nonzeros[static_cast<std::size_t>(panel)] = detail::measure_sparse_panel<F>(packed, shape.K).nonzeros;
  });
  double kept = 0;
  for (const std::size_t count : nonzeros) kept += static_cast<double>(count);
  return kept == 0 ? 0 : kept / (static_cast<double>(shape.N) * static_cast<double>(shape.K));
}

// A packed_matrix<F> or a sparse_matrix<F>; gemm() and activations take it as they take these.
template <sparse_format F>
class stored_matrix {
 public:
  stored_matrix(packed_matrix<F> w) : matrix_(std::move(w)) {}  // NOLINT: conversions are what is wanted
  stored_matrix(sparse_matrix<F> w) : matrix_(std::move(w)) {}  // NOLINT

  // Calls function with the matrix held.
  template <class Function>
  decltype(auto) visit(Function&& function) const {
    return std::visit(std::forward<Function>(function), matrix_);
  }

  [[nodiscard]] bool is_sparse() const noexcept { return std::holds_alternative<sparse_matrix<F>>(matrix_); }
  [[nodiscard]] index_t rows() const {
    return visit([](const auto& w) { return w.rows(); });
  }
  [[nodiscard]] index_t cols() const {
    return visit([](const auto& w) { return w.cols(); });
  }
  [[nodiscard]] std::size_t bytes() const {
    return visit([](const auto& w) { return w.bytes(); });
  }
  [[nodiscard]] type_id type() const noexcept { return F::id; }

 private:
  std::variant<packed_matrix<F>, sparse_matrix<F>> matrix_;
};

namespace detail {

template <sparse_format F>
inline constexpr bool is_any_weights<stored_matrix<F>> = true;

}  // namespace detail

// compress() where sparse_pays(), else pack(): the same products by bits, in the form that is faster. Arguments and errors as for both.
template <sparse_format F, class Executor = serial_executor>
  requires whole_executor<Executor>
stored_matrix<F> compress_or_pack(const void* blocks, weight_shape shape, const weight_use& use = {}, Executor&& executor = {}) {
  const bool could_pay = sparse_pays<F>(shape, 0, use);
  if (could_pay && sparse_pays<F>(shape, density_of<F>(blocks, shape, executor), use)) return compress<F>(blocks, shape, executor);
  return pack<F>(blocks, shape, executor);
}

}  // namespace tegula::inline TEGULA_ABI
