// The kernels of every format whose place in tegula's list, modulo the number of shards, is TEGULA_TEST_SHARD. Compiled once a
// shard (CMakeLists.txt), so that a new format needs no line here.
#include "runner.hpp"

namespace tests::detail {

namespace {

template <class F, class... Formats>
constexpr int place(tg::format_list<Formats...>) {
  int at = 0, found = -1;
  ((std::is_same_v<F, Formats> ? found = at : found, ++at), ...);
  return found;
}

}  // namespace

template <>
void multiply_in<TEGULA_TEST_SHARD>(const tg::quantized_activations& a, weights_ref w, const output& c, const call& how) {
  w.visit([&]<class W>(const W& typed) {
    if constexpr (place<typename W::format>(tg::all_formats{}) % shards == TEGULA_TEST_SHARD) {
      executor_ref executor = how.executor;
      std::visit([&](auto view) { tg::gemm(a, typed, view, how.epilogue, executor, how.options); }, c);
    }
  });
}

}  // namespace tests::detail
