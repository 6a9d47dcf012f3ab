// See sparse_benchmarks.hpp.
#include "sparse_benchmarks.hpp"

#include "product.hpp"

namespace bench {
namespace {

// W of one type and sparsity, kept for the rows that follow.
const std::vector<tg::any_sparse_matrix>& sparse_weights(const options& o, tg::type_id type, int percent) {
  static std::vector<tg::any_sparse_matrix> kept;
  static int kept_percent = -1;
  if (!kept.empty() && kept[0].type() == type && kept_percent == percent) return kept;
  kept.clear();
  kept_percent = percent;
  visit_sparse(type, [&]<class F>(F) {
    const byte_vector blocks = random_sparse_weights<F>(o.N, o.K, percent);
    kept = copies_of<tg::any_sparse_matrix>(tg::compress<F>(blocks.data(), {.N = o.N, .K = o.K}), o.hot);
  });
  return kept;
}

double dense_bytes(const options& o, tg::type_id type) {
  return tg::visit(type,
                   [&](auto format) { return static_cast<double>(tg::packed_matrix<decltype(format)>({.N = o.N, .K = o.K}).bytes()); });
}

// How it compares to the dense row of its type, ISA, mode and M, if that has run; of_bytes: to what the bytes alone would give.
void report_sparse(benchmark::State& state, const session& s, const gemm_case& c, double bytes) {
  state.counters.erase("roofline");  // counts dense bytes; of_bytes is the bound here
  state.counters["bytes/weight"] = bytes / (static_cast<double>(s.options.N) * static_cast<double>(s.options.K));
  gemm_row dense = c.row;
  dense.contender = tg::name_of(c.isa);
  if (const auto found = s.times.find(dense); found != s.times.end()) {
    const double ratio = found->second.seconds / s.times.at(c.row).seconds;
    state.counters["vs_dense"] = ratio;
    state.counters["of_bytes"] = ratio * bytes / dense_bytes(s.options, c.type);
  }
}

}  // namespace

void register_sparse(session& s, tg::type_id type, tg::index_t M, int percent) {
  if (!holds_sparse(type)) return;
  for_each_case(s.options, type, M, "+sparse" + std::to_string(percent), [&](const gemm_case& c) {
    register_row(s.options.threads, name_of(s.options, c.row), [&s, c, percent](benchmark::State& state) {
      const auto& w = sparse_weights(s.options, c.type, percent);
      run_gemm(state, s, c, w);
      report_sparse(state, s, c, static_cast<double>(w[0].bytes()));
    });
  });
}

}  // namespace bench
