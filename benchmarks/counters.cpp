// See counters.hpp.
#include "counters.hpp"

#include <algorithm>

#include "matrices.hpp"

namespace bench {

void report_gemm(benchmark::State& state, session& s, const gemm_row& row, tg::type_id type, tg::isa isa, tg::compute mode,
                 double seconds) {
  const gemm_time run{state.iterations(), seconds / static_cast<double>(state.iterations())};
  s.times[row].add(run);

  const double operations = operations_of(s.options, row.M);
  double bytes = 0, peak = 0;  // bytes as they lie in a GGUF file, whatever form the contender keeps
  tg::visit(type, [&](auto format) {
    using F = decltype(format);
    bytes = static_cast<double>(tg::source_row_bytes<F>(s.options.K)) * static_cast<double>(s.options.N);
    peak = peak_of(s.peaks, isa, mode, tg::quantized_format<F>) * 1e9;
  });
  const double bandwidth = (s.options.hot ? s.peaks.cache : s.peaks.memory) * 1e9;
  state.counters["GFLOP/s"] = operations / run.seconds / 1e9;
  state.counters["GB/s"] = bytes / run.seconds / 1e9;
  if (peak > 0 && bandwidth > 0) state.counters["roofline"] = std::max(operations / peak, bytes / bandwidth) / run.seconds;
  if (const double peer = best_peer_seconds(s.times, row.type, row.M); peer > 0) state.counters["vs_ggml"] = peer / run.seconds;
}

}  // namespace bench
