// See gemm_benchmarks.hpp.
#include "gemm_benchmarks.hpp"

#include <tegula/thread_pool.hpp>

#include "counters.hpp"
#include "matrices.hpp"

namespace bench {
namespace {

// W of one type, as many times as copies_for says, kept for the rows that follow.
const std::vector<tg::any_packed_matrix>& weights(const options& o, tg::type_id type) {
  static std::vector<tg::any_packed_matrix> kept;
  if (!kept.empty() && kept[0].type() == type) return kept;
  kept.clear();
  tg::visit(type, [&](auto format) {
    using F = decltype(format);
    kept.emplace_back(tg::pack<F>(random_weights<F>(o.N, o.K).data(), {.N = o.N, .K = o.K}));
    const std::size_t copies = copies_for(kept[0].bytes(), o.hot);
    kept.reserve(copies);
    while (kept.size() < copies) kept.push_back(kept[0]);
  });
  return kept;
}

// A, C and what lies between.
struct product {
  std::vector<float> a, c;
  tg::quantized_activations quantized;

  product(const options& o, tg::index_t M, const tg::any_packed_matrix& w, tg::compute mode)
      : a(random_activations(M, o.K)), c(static_cast<std::size_t>(M * o.N)), quantized(M, w, mode) {}

  // Quantizing A is part of the time; room for it is made once, as an inference engine does.
  void run(const options& o, const tg::any_packed_matrix& w, tg::thread_pool& pool, tg::gemm_options how) {
    quantized.assign(tg::matrix_view<const float>(a.data(), quantized.rows(), o.K), pool, how);
    tg::gemm(quantized, w, tg::matrix_view<float>(c.data(), quantized.rows(), o.N), pool, how);
  }
};

struct gemm_case {
  tg::type_id type;
  tg::index_t M;
  tg::isa isa;
  tg::compute mode;
  gemm_row row;
};

void run_gemm(benchmark::State& state, session& s, const gemm_case& c) {
  const options& o = s.options;
  const auto& w = weights(o, c.type);
  product p(o, c.M, w[0], c.mode);
  tg::thread_pool pool(o.threads);
  const tg::gemm_options how{.isa = c.isa, .compute = c.mode};
  p.run(o, w[0], pool, how);

  std::size_t next = 0;
  const stopwatch time(o.threads);
  for (auto unused : state) {
    p.run(o, w[next], pool, how);
    next = next + 1 < w.size() ? next + 1 : 0;
  }
  report_gemm(state, s, c.row, c.type, c.isa, c.mode, time.seconds());
  state.SetLabel(std::string(tg::last_kernel()));
}

}  // namespace

void register_gemm(session& s, tg::type_id type, tg::index_t M) {
  const char* name = tg::visit(type, [](auto format) { return decltype(format)::name; });
  const bool quantized = tg::visit(type, [](auto format) { return tg::quantized_format<decltype(format)>; });
  for (const tg::isa isa : s.options.isas)
    for (const tg::compute mode : s.options.modes) {
      if (mode == tg::compute::requantized && !quantized) continue;
      const gemm_case c{type, M, isa, mode, {name, tg::name_of(isa), tg::name_of(mode), M}};
      register_row(s.options.threads, name_of(s.options, c.row), [&s, c](benchmark::State& state) { run_gemm(state, s, c); });
    }
}

std::vector<float> reference_product(const session& s, tg::type_id type, tg::index_t M) {
  const tg::any_packed_matrix& w = weights(s.options, type)[0];
  tg::thread_pool pool(s.options.threads);
  product p(s.options, M, w, tg::compute::exact);
  p.run(s.options, w, pool, {.isa = tg::best_isa()});
  return std::move(p.c);
}

}  // namespace bench
