// Executors: who runs the tasks of a call. tegula owns no thread; an executor is anything with parallel_for(n, f) that calls
// f(0) .. f(n - 1), each once, and returns when all are done. It may have max_tasks() as well, the most tasks that a product should come
// in: at the end of each the core runs dry, and memory rests. Ready ones: serial and share here, thread_pool.hpp, openmp.hpp.
#pragma once

#include <type_traits>

#include "error.hpp"

namespace tegula::inline TEGULA_ABI {

namespace detail {
struct any_task {
  void operator()(index_t) const noexcept {}
};
}  // namespace detail

template <class E>
concept executor = requires(E& e, index_t n) {
  e.parallel_for(n, detail::any_task{});
};

namespace detail {
inline constexpr index_t most_tasks = 512, tasks_of_thread = 8;  // of a thread that takes the next one when it has done one

template <executor E>
index_t max_tasks(const E& e) {
  if constexpr (requires { e.max_tasks(); }) return e.max_tasks() < most_tasks ? index_t{e.max_tasks()} : most_tasks;
  else return most_tasks;
}
}  // namespace detail

// True for an executor that does only a part of the tasks in a call, because other workers make the same call and do the rest.
// What such a call computes is complete only when all have returned, so nothing that it makes first can be used in it.
template <class E>
inline constexpr bool is_partial = false;

template <class E>
concept whole_executor = executor<E> && !is_partial<std::remove_cvref_t<E>>;

// Runs every task in the calling thread, in order.
struct serial_executor {
  template <class F>
  void parallel_for(index_t n, F&& f) const {
    for (index_t i = 0; i < n; ++i) f(i);
  }
  [[nodiscard]] static constexpr index_t max_tasks() noexcept { return 1; }
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
    const index_t part = n / nth_, rest = n % nth_;
    const index_t first = part * ith_ + (ith_ < rest ? ith_ : rest);
    const index_t last = first + part + (ith_ < rest ? 1 : 0);
    for (index_t i = first; i < last; ++i) f(i);
  }
  [[nodiscard]] index_t max_tasks() const noexcept { return nth_; }

 private:
  index_t ith_, nth_;
};
template <>
inline constexpr bool is_partial<share> = true;

}  // namespace tegula::inline TEGULA_ABI
