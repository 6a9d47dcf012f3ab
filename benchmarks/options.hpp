// What the user asked for, and the results that rows share: filled by main.cpp and the benchmarks, read by the rest.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "peaks.hpp"

namespace bench {

struct options {
  std::vector<tg::index_t> rows{1, 8, 64, 512};  // the Ms of gemm
  tg::index_t N = 4096, K = 4096;
  std::vector<tg::isa> isas;  // empty: all that this machine has but scalar
  std::vector<tg::compute> modes{tg::compute::exact, tg::compute::bf16};
  std::vector<std::string> types;  // empty: all
  std::vector<int> sparsities;     // percent; empty: dense only
  int threads = 1;
  bool hot = false;  // one W again and again; else as many as the caches cannot hold
};

// A gemm row's name is gemm/<type>/<contender>/<mode>/M:../N:../K:.. ; of sparse W the contender is <isa>+sparse<percent>.
struct gemm_row {
  std::string type, contender, mode;
  tg::index_t M;
  auto operator<=>(const gemm_row&) const = default;
};

// A row's time: of its longest run, since shorter ones only estimate how long to run, and the best of several as long.
struct gemm_time {
  std::int64_t iterations = 0;
  double seconds = 0;  // a product

  void add(const gemm_time& run) {
    if (run.iterations > iterations || (run.iterations == iterations && run.seconds < seconds)) *this = run;
  }
};

// By row, for the ratio to the peer and the table at the end.
using gemm_times = std::map<gemm_row, gemm_time>;

struct session {
  bench::options options;
  machine_peaks peaks;
  gemm_times times;
};

inline constexpr const char* peer_name = "ggml";  // contenders that start with it are the peer's

inline bool is_peer(const gemm_row& row) { return row.contender.starts_with(peer_name); }

// Seconds of the peer's best form at a type and M; 0: it has not run.
inline double best_peer_seconds(const gemm_times& times, const std::string& type, tg::index_t M) {
  double best = 0;
  for (const auto& [row, time] : times)
    if (is_peer(row) && row.type == type && row.M == M && (best == 0 || time.seconds < best)) best = time.seconds;
  return best;
}

inline double operations_of(const options& o, tg::index_t M) { return 2.0 * static_cast<double>(M * o.N) * static_cast<double>(o.K); }

inline std::string name_of(const options& o, const gemm_row& r) {
  return "gemm/" + r.type + "/" + r.contender + "/" + r.mode + "/M:" + std::to_string(r.M) + "/N:" + std::to_string(o.N) +
         "/K:" + std::to_string(o.K);
}

}  // namespace bench
