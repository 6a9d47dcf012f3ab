// One translation unit of a program whose units are built with different flags: UNIT names its function, which returns a hash of
// products computed with the best ISA, through everything that a caller uses.
#include "bits.hpp"
#include "unit.hpp"

std::uint64_t UNIT() {
  namespace tg = tegula;
  constexpr tg::index_t M = 9, N = 21, K = 288;
  const auto blocks = bits::weights<tg::q4_1>(N, K, 11);
  const auto a = bits::activations<float>(M, K, 12);
  std::vector<float> c(M * N), weights(N * K);
  tg::gemm(bits::view(a, M), tg::pack<tg::q4_1>(blocks.data(), {.N = N, .K = K}), bits::view(c, M),
           [](float value, tg::index_t, tg::index_t n) { return value + static_cast<float>(n); });
  tg::dequantize<tg::q4_1>(blocks.data(), weights.data(), N * K);
  const std::uint64_t report = bits::hash(tg::cpu_report().text().data(), tg::cpu_report().text().size());
  try {
    tg::gemm(bits::view(a, M), tg::pack<tg::q4_1>(blocks.data(), {.N = N - 1, .K = K}), bits::view(c, M));
    return 0;
  } catch (const std::invalid_argument&) {
    return bits::hash(c) ^ bits::hash(weights) ^ report;
  }
}
