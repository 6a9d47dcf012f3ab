// openmp_executor: an executor for callers whose threads are OpenMP's. Needs -fopenmp; without it the tasks run serially.
#pragma once

#include "core/executor.hpp"

namespace tegula::inline TEGULA_ABI {

struct openmp_executor {
  // Calls function(i) for i = 0 .. n - 1; inside a parallel region it runs serially unless nesting is enabled. A task must not
  // throw, as OpenMP has it.
  template <class F>
  void parallel_for(index_t n, F&& function) const {
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic, 1)
#endif
    for (index_t i = 0; i < n; ++i) function(i);
  }
};

}  // namespace tegula::inline TEGULA_ABI
