// Calls from many threads. Also built with ThreadSanitizer.
#pragma once

#include <atomic>
#include <barrier>
#include <thread>

#include <tegula/thread_pool.hpp>

#include "jobs.hpp"

template <class Function>
void on_threads(int count, Function function) {
  std::vector<std::thread> all;
  for (int i = 0; i < count; ++i) all.emplace_back(function, i);
  for (std::thread& t : all) t.join();
}

// The first calls are made by the threads at once, so that the detection of the CPU is raced for as well.
inline outcome threads() {
  constexpr int count = 64;
  std::vector<std::vector<std::vector<float>>> results(count);
  std::atomic<int> wrong_names{0};
  const auto& list = jobs();
  std::barrier start(count);
  on_threads(count, [&](int thread) {
    start.arrive_and_wait();
    for (std::size_t i = 0; i < 6; ++i) {
      const job& j = list[(static_cast<std::size_t>(thread) * 5 + i) % list.size()];
      results[static_cast<std::size_t>(thread)].push_back(j.multiply());
      const bool bf16 = tg::last_kernel().find("bf16", 5) != std::string_view::npos;
      if (bf16 != (j.mode() == tg::compute::bf16)) ++wrong_names;  // last_kernel() is this thread's
    }
  });
  const auto expected = multiply_all();
  bool right = wrong_names == 0;
  for (std::size_t thread = 0; thread < count; ++thread)
    for (std::size_t i = 0; i < 6; ++i) right = same_bits(results[thread][i], expected[(thread * 5 + i) % list.size()]) && right;
  return right_if(right);
}

// Workers that run already: each makes the same calls with its share.
inline bool shared_products() {
  constexpr int workers = 3;
  const auto expected = multiply_all();
  bool right = true;
  for (std::size_t i = 0; i < jobs().size(); ++i) {
    const job& j = jobs()[i];
    std::vector<float> c(expected[i].size());
    j.visit([&](const auto& w) {
      tg::quantized_activations q(j.a().rows(), w, j.mode());
      std::barrier quantized(workers);
      on_threads(workers, [&](int ith) {
        q.assign(j.a(), tg::share(ith, workers));
        quantized.arrive_and_wait();
        tg::gemm(q, w, bits::view(c, j.a().rows()), tg::share(ith, workers));
      });
    });
    right = same_bits(c, expected[i]) && right;
  }
  return right;
}

inline outcome pool() {
  const auto expected = multiply_all();
  tg::thread_pool shared(4);
  std::atomic<bool> right{true};
  on_threads(3, [&](int) {
    for (std::size_t i = 0; i < jobs().size(); ++i)
      if (!same_bits(jobs()[i].multiply(shared), expected[i])) right = false;
  });
  // Called from inside a task: serially, and no deadlock.
  shared.parallel_for(8, [&](tg::index_t i) {
    const auto at = static_cast<std::size_t>(i);
    if (!same_bits(jobs()[at].multiply(shared), expected[at])) right = false;
  });
  return right_if(right && shared_products());
}
