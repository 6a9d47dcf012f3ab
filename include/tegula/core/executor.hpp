// Executors: who runs the tasks of a call. tegula owns no thread; an executor is anything with parallel_for(n, f) that calls
// f(0) .. f(n - 1), each once, and returns when all are done. Ready ones: serial and share here, thread_pool.hpp, openmp.hpp.
#pragma once

#include <utility>

#include "error.hpp"

namespace tegula::inline TEGULA_ABI {

namespace detail {
struct any_task {
  void operator()(index_t) const noexcept {}
};
}  // namespace detail

template <class E>
concept executor = requires(E& e, index_t n) { e.parallel_for(n, detail::any_task{}); };

// Runs every task in the calling thread, in order.
struct serial_executor {
  template <class F>
  void parallel_for(index_t n, F&& f) const {
    for (index_t i = 0; i < n; ++i) f(i);
  }
};

// For callers whose workers already run, as (ith, nth): each worker makes the same call with its own share and does that part
// of the tasks. The caller puts a barrier between quantizing activations and the product that reads them.
class share {
 public:
  // Throws std::invalid_argument unless 0 <= ith < nth.
  share(index_t ith, index_t nth) : ith_(ith), nth_(nth) {
    if (ith < 0 || ith >= nth) detail::fail_argument("share ", ith, " of ", nth, ": needs 0 <= ith < nth");
  }

  template <class F>
  void parallel_for(index_t n, F&& f) const {
    // n * ith would overflow for absurd n only, but whole and rest parts cost nothing.
    const index_t part = n / nth_, rest = n % nth_;
    const index_t first = part * ith_ + (ith_ < rest ? ith_ : rest);
    const index_t last = first + part + (ith_ < rest ? 1 : 0);
    for (index_t i = first; i < last; ++i) f(i);
  }

 private:
  index_t ith_, nth_;
};

}  // namespace tegula::inline TEGULA_ABI
