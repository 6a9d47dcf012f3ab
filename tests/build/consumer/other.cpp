// The second translation unit; see main.cpp.
#include <tegula/tegula.hpp>

#include <vector>

namespace tg = tegula;

std::vector<float> multiply_elsewhere(const std::vector<float>& x, const std::vector<tg::f16>& weights, tg::index_t N) {
  const auto K = static_cast<tg::index_t>(x.size());
  const auto w = tg::pack<tg::f16>(weights.data(), {.N = N, .K = K});
  std::vector<float> y(static_cast<std::size_t>(N));
  tg::gemm(tg::matrix_view<const float>(x.data(), 1, K), w, tg::matrix_view<float>(y.data(), 1, N));
  return y;
}
