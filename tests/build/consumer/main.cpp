// A user's program of two translation units, both of which include the library and use the same instantiations.
#include <tegula/tegula.hpp>

#include <cstdio>
#include <vector>

namespace tg = tegula;

std::vector<float> multiply_elsewhere(const std::vector<float>& x, const std::vector<tg::f16>& weights, tg::index_t N);

int main() {
  constexpr tg::index_t N = 3, K = 40;
  std::vector<tg::f16> weights;
  std::vector<float> x;
  for (int i = 0; i < N * K; ++i) weights.emplace_back(static_cast<float>(i % 7 - 3));
  for (int i = 0; i < K; ++i) x.push_back(static_cast<float>(i % 5));
  const auto w = tg::pack<tg::f16>(weights.data(), {.N = N, .K = K});
  std::vector<float> y(N);
  tg::gemm(tg::matrix_view<const float>(x.data(), 1, K), w, tg::matrix_view<float>(y.data(), 1, N));
  bool right = y == multiply_elsewhere(x, weights, N);
  for (int n = 0; n < N; ++n) {
    float expected = 0;  // small integers: exact in any order
    for (int k = 0; k < K; ++k)
      expected += x[static_cast<std::size_t>(k)] * static_cast<float>(weights[static_cast<std::size_t>(n * K + k)]);
    right = right && y[static_cast<std::size_t>(n)] == expected;
  }
  std::printf("%s: %s\n", tg::last_kernel().data(), right ? "right" : "WRONG");
  return right ? 0 : 1;
}
