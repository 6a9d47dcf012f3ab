// Checks the toy type that add_a_type adds: the library must serve it everywhere without having heard of it.
#include <cmath>
#include <cstdio>
#include <string_view>

#include "bits.hpp"

namespace tg = tegula;

static_assert(tg::supported(tg::q3_toy::id));

namespace {

int failures = 0;

void check(bool right, const char* what) {
  std::printf("%-60s %s\n", what, right ? "right" : "WRONG");
  failures += right ? 0 : 1;
}

// The format once more, in the most direct way: 32 weights of d * (q - 4), low two bits of q in bytes 2 - 9, the third in 10 - 13.
float decoded(const unsigned char* block, int k) {
  std::uint16_t d;
  std::memcpy(&d, block, 2);
  const int low = block[2 + k % 8] >> (k / 8 * 2) & 3, high = block[10 + k % 4] >> (k / 4) & 1;
  return tg::widen_f16(d) * static_cast<float>(low + 4 * high - 4);
}

// The distance of C from a product in double, in units of the root mean square of C.
double error_of(const std::vector<float>& c, const std::vector<float>& a, const std::vector<float>& w, std::size_t K) {
  const std::size_t M = a.size() / K, N = w.size() / K;
  double error = 0, size = 0;
  for (std::size_t m = 0; m < M; ++m)
    for (std::size_t n = 0; n < N; ++n) {
      double sum = 0;
      for (std::size_t k = 0; k < K; ++k) sum += static_cast<double>(a[m * K + k]) * static_cast<double>(w[n * K + k]);
      error += std::pow(static_cast<double>(c[m * N + n]) - sum, 2);
      size += sum * sum;
    }
  return std::sqrt(error / size);
}

void check_shape(tg::index_t M, tg::index_t N, tg::index_t K) {
  std::printf("%d x %d x %d\n", static_cast<int>(M), static_cast<int>(N), static_cast<int>(K));
  const auto blocks = bits::weights<tg::q3_toy>(N, K, 1);
  const auto a = bits::activations<float>(M, K, 2);
  const auto w = tg::pack<tg::q3_toy>(blocks.data(), {.N = N, .K = K});

  auto unpacked = blocks;
  std::memset(unpacked.data(), 0, unpacked.size());
  tg::unpack(w, unpacked.data());
  check(unpacked == blocks, "  unpack gives the bytes back");

  std::vector<float> expected_weights(static_cast<std::size_t>(N * K)), weights(expected_weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) expected_weights[i] = decoded(&blocks[i / 32 * 14], static_cast<int>(i % 32));

  for (const tg::compute mode : {tg::compute::exact, tg::compute::bf16, tg::compute::requantized}) {
    std::vector<float> first;
    for (const tg::isa which : tg::all_isas) {
      if (!tg::supported(which)) continue;
      tg::dequantize<tg::q3_toy>(blocks.data(), weights.data(), N * K, {.isa = which, .compute = {}});
      check(weights == expected_weights, (std::string("  dequantize ") + tg::name_of(which)).c_str());
      std::vector<float> c(static_cast<std::size_t>(M * N));
      tg::gemm(bits::view(a, M), w, bits::view(c, M), {.isa = which, .compute = mode});
      const std::string kernel(tg::last_kernel());
      // A is rounded to 8 bits with a scale per 256, W too in requantized mode, W and A to 8 significant bits in bf16 mode.
      check(error_of(c, a, weights, static_cast<std::size_t>(K)) < 0.02, ("  " + kernel + ", against a product in double").c_str());
      if (first.empty()) first = c;
      if (mode != tg::compute::bf16) check(bits::hash(c) == bits::hash(first), ("  " + kernel + ", bits of the first ISA").c_str());
    }
  }
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) return std::puts("usage: toy_type: multiplies a type that add_a_type added; 1 if it is wrong") < 0;
  check_shape(1, 33, 96);
  check_shape(21, 40, 416);
  std::printf("best ISA: %s, %d wrong\n", tg::name_of(tg::best_isa()), failures);
  return failures == 0 ? 0 : 1;
}
