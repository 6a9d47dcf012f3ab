// thread_pool: a small executor for callers that have no threads of their own. The rest of the library does not need it. Between calls its
// threads look out for the next one for 50 us, then they sleep.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/executor.hpp"

#if defined(__linux__)
#include <sched.h>
#endif

namespace tegula::inline TEGULA_ABI {

namespace detail {

// CPUs that the affinity mask allows.
inline int allowed_cpus() {
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) return CPU_COUNT(&mask);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// CPUs that one control group's quota pays for: cpu.max (v2) or cpu.cfs_quota_us over cpu.cfs_period_us (v1).
inline double group_cpus(const std::string& folder) {
  constexpr double no_limit = 1e9;
  double quota = 0, period = 0;
  std::ifstream v2(folder + "/cpu.max");
  if (!(v2 >> quota >> period)) {  // also "max 100000"
    std::ifstream v1_quota(folder + "/cpu.cfs_quota_us"), v1_period(folder + "/cpu.cfs_period_us");
    if (!(v1_quota >> quota && v1_period >> period)) return no_limit;
  }
  return quota > 0 && period > 0 ? quota / period : no_limit;
}

// The least that the groups of this process and those above them pay for, rounded up; a large number where there is no quota.
inline int cgroup_cpus(const std::string& root = "/sys/fs/cgroup", const std::string& membership = "/proc/self/cgroup") {
  double cpus = 1 << 20;
  std::ifstream groups(membership);
  for (std::string line; std::getline(groups, line);) {  // "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1)
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && controllers.find("cpu") == std::string::npos) continue;
    const std::string mount = controllers.empty() ? root : root + "/cpu";
    for (std::string path = line.substr(second + 1); path.size() > 1 && path.find('/') != std::string::npos;
         path.resize(path.find_last_of('/')))
      cpus = std::min(cpus, group_cpus(mount + path));
    cpus = std::min(cpus, group_cpus(mount));
  }
  return std::max(1, static_cast<int>(cpus + 0.999));
}

// Set while a thread runs a task of a pool: a nested parallel_for then runs serially instead of waiting for itself.
inline thread_local bool inside_pool_task = false;

// A turn of a loop that waits for another thread.
inline void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace detail

class thread_pool {
 public:
  // `threads` in all, the calling one included; 0: what the affinity mask and the cgroup's quota allow, whichever is less. Throws
  // what std::thread throws if the system gives no more threads.
  explicit thread_pool(int threads = 0) : cpus_(default_size()), threads_(threads > 0 ? threads : cpus_) {
    workers_.reserve(static_cast<std::size_t>(threads_ - 1));
#if defined(__cpp_exceptions)
    try {
      start();
    } catch (...) {  // the system gives no more threads: those that run must end before the members that they wait on
      stop();
      throw;
    }
#else
    start();
#endif
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() { stop(); }

  static int default_size() { return std::max(1, std::min(detail::allowed_cpus(), detail::cgroup_cpus())); }
  [[nodiscard]] int size() const noexcept { return threads_; }
  [[nodiscard]] index_t max_tasks() const noexcept { return threads_ > 1 ? detail::tasks_of_thread * threads_ : 1; }

  // Calls function(i) for i = 0 .. n - 1 on all threads and waits. Called from inside a task it runs serially; called by several
  // threads at once, one call is done after the other. An exception of a task stops further tasks and is thrown here.
  template <class F>
  void parallel_for(index_t n, F&& function) {
    if (n <= 0) return;
    if (n == 1 || workers_.empty() || detail::inside_pool_task) {
      for (index_t i = 0; i < n; ++i) function(i);
      return;
    }
    const std::lock_guard one_at_a_time(callers_);
    {
      const std::lock_guard lock(mutex_);
      call_ = [](void* f, index_t i) { (*static_cast<std::remove_reference_t<F>*>(f))(i); };
      function_ = const_cast<void*>(static_cast<const void*>(std::addressof(function)));
      count_ = n;
      next_.store(0, std::memory_order_relaxed);
      busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    run_tasks();
    wait(done_, [this] { return busy_.load(std::memory_order_acquire) == 0; });
#if defined(__cpp_exceptions)
    if (std::exception_ptr error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
#endif
  }

 private:
  void start() {
    for (int i = 1; i < threads_; ++i) workers_.emplace_back([this] { work(); });
  }
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_.store(true, std::memory_order_relaxed);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  // Until ready(), which whoever makes it so announces by `changed`. A product with one row of A lasts some 20 to 200 us, and to wake a
  // thread takes 10 to 20 of them; so a thread looks out for a while before it sleeps, unless threads have to share CPUs. (Zen 5, 2
  // threads, M = 1, 20 us between products: 2048 x 2048 of Q4_K 37 to 19 us, where one thread takes 27; 4096 x 4096 of Q8_0 125 to 100.)
  template <class Ready>
  void wait(std::condition_variable& changed, Ready ready) {
    using clock = std::chrono::steady_clock;
    if (threads_ <= cpus_)
      for (const clock::time_point end = clock::now() + std::chrono::microseconds(50); clock::now() < end;)
        for (int i = 0; i < 32; ++i) {
          if (ready()) return;
          detail::pause();
        }
    std::unique_lock lock(mutex_);
    changed.wait(lock, ready);
  }

  void work() {
    for (std::uint64_t seen = 0;;) {
      wait(wake_, [&] { return stopping_.load(std::memory_order_relaxed) || generation_.load(std::memory_order_acquire) != seen; });
      if (stopping_.load(std::memory_order_relaxed)) return;
      ++seen;
      run_tasks();
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        const std::lock_guard lock(mutex_);  // or the caller could miss it between its look and its sleep
        done_.notify_one();
      }
    }
  }

  void run_tasks() {
    detail::inside_pool_task = true;
#if defined(__cpp_exceptions)
    try {
      take_tasks();
    } catch (...) {
      next_.store(count_, std::memory_order_relaxed);
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
#else
    take_tasks();
#endif
    detail::inside_pool_task = false;
  }
  void take_tasks() {
    for (index_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) call_(function_, i);
  }

  int cpus_, threads_;
  std::vector<std::thread> workers_;
  std::mutex callers_, mutex_;
  std::condition_variable wake_, done_;
  void (*call_)(void*, index_t) = nullptr;
  void* function_ = nullptr;
  index_t count_ = 0;
  std::atomic<index_t> next_{0};
  std::exception_ptr error_;
  std::atomic<std::uint64_t> generation_{0};  // calls so far
  std::atomic<int> busy_{0};                  // workers that have not done with this one
  std::atomic<bool> stopping_{false};
};

}  // namespace tegula::inline TEGULA_ABI
