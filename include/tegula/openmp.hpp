// openmp_executor: an executor for callers whose threads are OpenMP's. Needs -fopenmp; without it the tasks run serially.
#pragma once

#include "core/executor.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

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
  [[nodiscard]] index_t max_tasks() const noexcept {
#if defined(_OPENMP)
    if (const int threads = omp_in_parallel() ? 1 : omp_get_max_threads(); threads > 1) return detail::tasks_of_thread * threads;
#endif
    return 1;
  }
};

}  // namespace tegula::inline TEGULA_ABI
