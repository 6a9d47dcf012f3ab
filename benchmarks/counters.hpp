// The numbers beside a gemm row's time, the same for tegula and the peer.
#pragma once

#include <benchmark/benchmark.h>

#include "options.hpp"
#include "stopwatch.hpp"

namespace bench {

// The counters of a row whose loop has just ended. `isa` is what bounds it: the contender's, or what the peer was built for.
void report_gemm(benchmark::State& state, session& s, const gemm_row& row, tg::type_id type, tg::isa isa, tg::compute mode, double seconds);

// Registers a benchmark that runs in `threads` threads: timed as the stopwatch does.
template <class Function>
void register_row(int threads, const std::string& name, Function function) {
  auto* row = benchmark::RegisterBenchmark(name.c_str(), function);
  row->Unit(benchmark::kMicrosecond);
  if (threads > 1) row->UseRealTime();
}

}  // namespace bench
