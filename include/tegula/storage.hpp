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
// rows of A, up to a density. What is not listed is faster dense. Measured on one thread of an AMD EPYC (Zen 5), BF16 on Zen 4 as well, and
// AMX taken as AVX-512, by
//   tegula_bench --sparsity 30,50,70,90 --m 1,2,4,8,16 --compute exact --isa avx512,avx2 --benchmark_filter=gemm
struct sparse_limit {
  type_id type;
  isa from;
  index_t rows;
  double density;
};
inline constexpr sparse_limit sparse_limits[] = {
    {bf16::id, isa::avx2, 1, 0.2},
    {f16::id, isa::avx512, 2, 0.7},
    {bf16::id, isa::avx512, 2, 0.7},
    {bf16::id, isa::avx512, 4, 0.5},
    {q8_0::id, isa::avx512, 4, 0.7},
    {q8_256::id, isa::avx512, 16, 0.7},
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

// A dense or a sparse matrix; gemm() and activations take it as they take these.
template <class Dense, class Sparse>
class dense_or_sparse : public detail::matrix_variant<Dense, Sparse> {
 public:
  dense_or_sparse(Dense w) : detail::matrix_variant<Dense, Sparse>(std::move(w)) {}   // NOLINT: conversions are what is wanted
  dense_or_sparse(Sparse w) : detail::matrix_variant<Dense, Sparse>(std::move(w)) {}  // NOLINT

  [[nodiscard]] bool is_sparse() const noexcept { return this->template holds<Sparse>(); }
};
template <sparse_format F>
using stored_matrix = dense_or_sparse<packed_matrix<F>, sparse_matrix<F>>;
using any_stored_matrix = dense_or_sparse<any_packed_matrix, any_sparse_matrix>;

namespace detail {

template <class Dense, class Sparse>
inline constexpr bool is_any_weights<dense_or_sparse<Dense, Sparse>> = true;

}  // namespace detail

// compress() where sparse_pays(), else pack(): the same products by bits, in the form that is faster. Arguments and errors as for both.
template <sparse_format F, class Executor = serial_executor>
  requires whole_executor<Executor>
stored_matrix<F> compress_or_pack(const void* blocks, weight_shape shape, const weight_use& use = {}, Executor&& executor = {}) {
  const bool could_pay = sparse_pays<F>(shape, 0, use);
  if (could_pay && sparse_pays<F>(shape, density_of<F>(blocks, shape, executor), use)) return compress<F>(blocks, shape, executor);
  return pack<F>(blocks, shape, executor);
}

// The same by ggml type number. Dense as well: types that sparse matrices do not hold, or hold rounded (F32).
template <class Executor = serial_executor>
requires whole_executor<Executor> any_stored_matrix compress_or_pack(type_id type, const void* blocks, weight_shape shape,
                                                                     const weight_use& use = {}, Executor&& executor = {}) {
  return visit(type, [&]<class F>(F) -> any_stored_matrix {
    if constexpr (sparse_format<F>) {
      return compress_or_pack<F>(blocks, shape, use, executor).visit([]<class W>(W&& w) -> any_stored_matrix {
        if constexpr (std::is_same_v<std::remove_cvref_t<W>, packed_matrix<F>>) return any_packed_matrix(std::forward<W>(w));
        else return any_sparse_matrix(std::forward<W>(w));
      });
    } else {
      return any_packed_matrix(pack<F>(blocks, shape, executor));
    }
  });
}

}  // namespace tegula::inline TEGULA_ABI
