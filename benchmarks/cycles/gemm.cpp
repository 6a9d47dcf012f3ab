// Products of weights of one type (-DTYPE=q4_k) for the cycle model: each case is two counted regions, <i>.a in which A is quantized and
// <i>.c in which C = A W^T is computed, where i is the case's place on the command line.
//
//   gemm MODE:ISA:M:N:K[:sparse]...     MODE as compute has them; ISA as isa has them, or auto: what gemm() takes by itself;
//                                       sparse: half of the weights are zeros, and W is a sparse matrix
//
// Prints a line per case: what ran ("q4_k amx exact").
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../../tests/emulator/count.hpp"
#include "../matrices.hpp"

namespace {

namespace tg = tegula;
using format = tg::TYPE;

[[noreturn]] void fail(const char* text) {
  std::fprintf(stderr, "gemm: %s: want MODE:ISA:M:N:K[:sparse], sparse of a type that sparse matrices hold\n", text);
  std::exit(2);
}

struct gemm_case {
  tg::gemm_options options;
  tg::index_t M, N, K;
  bool sparse;

  explicit gemm_case(const char* text) {
    char mode[16], isa[16], storage[8] = "";
    if (std::sscanf(text, "%15[^:]:%15[^:]:%td:%td:%td:%7s", mode, isa, &M, &N, &K, storage) < 5) fail(text);
    sparse = std::string(storage) == "sparse";
    if (sparse ? !tg::sparse_format<format> : *storage != '\0') fail(text);
    for (int how = 0; how < static_cast<int>(tg::compute::auto_); ++how)  // the last one, and no mode of its own
      if (std::string(tg::name_of(tg::compute{how})) == mode) options.compute = tg::compute{how};
    for (const tg::isa which : tg::all_isas)
      if (std::string(tg::name_of(which)) == isa) options.isa = which;
    if (!options.compute || (!options.isa && std::string(isa) != "auto")) fail(text);
  }
};

tg::packed_matrix<format> made(tg::index_t N, tg::index_t K, const tg::packed_matrix<format>&) {
  return tg::pack<format>(bench::random_weights<format>(N, K).data(), {.N = N, .K = K});
}
template <tg::sparse_format F>
tg::sparse_matrix<F> made(tg::index_t N, tg::index_t K, const tg::sparse_matrix<F>&) {
  return tg::compress<F>(bench::random_sparse_weights<F>(N, K, 50).data(), {.N = N, .K = K});
}

// Made once for cases in a row that can share them: most of an emulated run would go into random numbers.
template <class Matrix>
const Matrix& weights(tg::index_t N, tg::index_t K) {
  static Matrix kept;
  if (kept.rows() != N || kept.cols() != K) kept = made(N, K, kept);
  return kept;
}

tg::matrix_view<const float> activations(tg::index_t M, tg::index_t K) {
  static std::vector<float> kept;
  static tg::index_t kept_k = 0;
  if (kept_k != K || kept.size() < static_cast<std::size_t>(M * K)) {
    kept = bench::random_activations(std::max<tg::index_t>(M, 64), K);
    kept_k = K;
  }
  return {kept.data(), M, K};
}

template <class Matrix>
void run(const gemm_case& g, const std::string& label) {
  const Matrix& w = weights<Matrix>(g.N, g.K);
  const auto a = activations(g.M, g.K);
  std::vector<float> c(static_cast<std::size_t>(g.M * g.N));
  tg::quantized_activations quantized(g.M, w, *g.options.compute);
  {
    const tg::emulator::counted_region region((label + ".a").c_str());
    quantized.assign(a, tg::serial_executor{}, g.options);
  }
  {
    const tg::emulator::counted_region region((label + ".c").c_str());
    tg::gemm(quantized, w, tg::matrix_view<float>(c.data(), g.M, g.N), g.options);
  }
  std::puts(std::string(tg::last_kernel()).c_str());
}

template <tg::block_format F>
void run_any(const gemm_case& g, const std::string& label) {
  if constexpr (tg::sparse_format<F>)
    if (g.sparse) return run<tg::sparse_matrix<F>>(g, label);
  run<tg::packed_matrix<F>>(g, label);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) run_any<format>(gemm_case(argv[i]), std::to_string(i - 1));
}
