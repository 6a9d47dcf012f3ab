// What a gemm row times: quantizing A and multiplying it by one after the other of equal matrices, dense or sparse.
#pragma once

#include <tegula/thread_pool.hpp>

#include "counters.hpp"
#include "matrices.hpp"

namespace bench {

struct gemm_case {
  tg::type_id type;
  tg::index_t M;
  tg::isa isa;
  tg::compute mode;
  gemm_row row;
};

// Calls function(gemm_case) for every ISA and mode asked for. `form`: what follows the ISA in the contender's name.
template <class Function>
void for_each_case(const options& o, tg::type_id type, tg::index_t M, const std::string& form, Function function) {
  const char* name = tg::visit(type, [](auto format) { return decltype(format)::name; });
  const bool quantized = tg::visit(type, [](auto format) { return tg::quantized_format<decltype(format)>; });
  for (const tg::isa isa : o.isas)
    for (const tg::compute mode : o.modes)
      if (mode != tg::compute::requantized || quantized)
        function(gemm_case{type, M, isa, mode, {name, tg::name_of(isa) + form, tg::name_of(mode), M}});
}

// A, C and what lies between.
struct product {
  std::vector<float> a, c;
  tg::quantized_activations quantized;

  template <class W>
  product(const options& o, tg::index_t M, const W& w, tg::compute mode)
      : a(random_activations(M, o.K)), c(static_cast<std::size_t>(M * o.N)), quantized(M, w, mode) {}

  // Quantizing A is part of the time; room for it is made once, as an inference engine does.
  template <class W>
  void run(const options& o, const W& w, tg::thread_pool& pool, tg::gemm_options how) {
    quantized.assign(tg::matrix_view<const float>(a.data(), quantized.rows(), o.K), pool, how);
    tg::gemm(quantized, w, tg::matrix_view<float>(c.data(), quantized.rows(), o.N), pool, how);
  }
};

template <class W>
void run_gemm(benchmark::State& state, session& s, const gemm_case& c, const std::vector<W>& w) {
  const options& o = s.options;
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

}  // namespace bench
