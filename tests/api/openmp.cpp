// openmp_executor, in a translation unit built with -fopenmp.
#include <omp.h>
#include <tegula/openmp.hpp>

#include <atomic>
#include <vector>

#include "../support/catch.hpp"
#include "../support/runner.hpp"

using namespace tests;

TEST_CASE("OpenMP runs every task once", "[openmp]") {
  omp_set_num_threads(3);
  std::atomic<int> threads{0};
  for (const tg::index_t n : {0, 1, 2, 100}) {
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(n));
    tg::openmp_executor{}.parallel_for(n, [&](tg::index_t i) {
      ++calls[static_cast<std::size_t>(i)];
      threads = omp_get_num_threads();
    });
    int right = 0;
    for (const auto& c : calls) right += c == 1;
    CHECK(right == n);
  }
  CHECK(threads == 3);
}

TEST_CASE("products by OpenMP give the same bits", "[openmp]") {
  omp_set_num_threads(3);
  const block_info type = info_of(tg::q5_k::id);
  const tg::any_packed_matrix w = pack(type, random_blocks(type, 100, 512, 1).data(), 100, 512);
  const std::vector<float> a = random_activations(20, 512, 2);
  const tg::openmp_executor openmp;
  call how;
  how.executor = executor_ref(openmp);
  CHECK(difference(multiply(a, 20, w, how), multiply(a, 20, w), 100) == "");

  // Inside a parallel region each thread's product is its own.
  std::atomic<int> wrong{0};
  const std::vector<float> expected = multiply(a, 20, w);
#pragma omp parallel for
  for (int i = 0; i < 6; ++i) wrong += difference(multiply(a, 20, w, how), expected, 100) != "";
  CHECK(wrong == 0);
}
