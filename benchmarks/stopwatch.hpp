// The clock of every measurement here.
#pragma once

#include <ctime>

namespace bench {

// Time of one thread is CPU time, so that other processes count less; of several, wall time.
class stopwatch {
 public:
  explicit stopwatch(int threads) : clock_(threads > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID), start_(now()) {}
  [[nodiscard]] double seconds() const { return now() - start_; }

 private:
  [[nodiscard]] double now() const {
    std::timespec time{};
    clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  clockid_t clock_;
  double start_;
};

}  // namespace bench
