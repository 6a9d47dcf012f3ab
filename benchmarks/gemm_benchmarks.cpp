// See gemm_benchmarks.hpp.
#include "gemm_benchmarks.hpp"

#include "product.hpp"

namespace bench {
namespace {

// W of one type, as many times as copies_of says, kept for the rows that follow.
const std::vector<tg::any_packed_matrix>& weights(const options& o, tg::type_id type) {
  static std::vector<tg::any_packed_matrix> kept;
  if (!kept.empty() && kept[0].type() == type) return kept;
  kept.clear();
  tg::visit(type, [&](auto format) {
    using F = decltype(format);
    kept = copies_of<tg::any_packed_matrix>(tg::pack<F>(random_weights<F>(o.N, o.K).data(), {.N = o.N, .K = o.K}), o.hot);
  });
  return kept;
}

}  // namespace

void register_gemm(session& s, tg::type_id type, tg::index_t M) {
  for_each_case(s.options, type, M, "", [&](const gemm_case& c) {
    register_row(s.options.threads, name_of(s.options, c.row),
                 [&s, c](benchmark::State& state) { run_gemm(state, s, c, weights(s.options, c.type)); });
  });
}

std::vector<float> reference_product(const session& s, tg::type_id type, tg::index_t M) {
  const tg::any_packed_matrix& w = weights(s.options, type)[0];
  tg::thread_pool pool(s.options.threads);
  product p(s.options, M, w, tg::compute::exact);
  p.run(s.options, w, pool, {.isa = tg::best_isa()});
  return std::move(p.c);
}

}  // namespace bench
