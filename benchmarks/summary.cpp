// See summary.hpp.
#include "summary.hpp"

#include <algorithm>
#include <cstdio>
#include <set>

namespace bench {
namespace {

std::vector<std::string> types_of(const gemm_times& times) {
  std::vector<std::string> types;
  for (const auto& [row, time] : times)
    if (types.empty() || types.back() != row.type) types.push_back(row.type);
  return types;
}

std::string cell(const session& s, const gemm_row& row) {
  const auto found = s.times.find(row);
  if (found == s.times.end()) return "-";
  const double seconds = found->second.seconds, gflops = operations_of(s.options, row.M) / seconds / 1e9;
  char text[48];
  const double peer = is_peer(row) ? 0 : best_peer_seconds(s.times, row.type, row.M);
  if (peer > 0) std::snprintf(text, sizeof text, "%.1f (%.2fx)", gflops, peer / seconds);
  else std::snprintf(text, sizeof text, "%.1f", gflops);
  return text;
}

void print_cells(std::ostream& out, const std::vector<std::string>& cells) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string padding(cells[i].size() < 18 ? 18 - cells[i].size() : 1, ' ');
    out << (i == 0 ? cells[i] + padding : padding + cells[i]);
  }
  out << '\n';
}

}  // namespace

void print_summary(const session& s, std::ostream& out) {
  if (s.times.empty()) return;
  std::set<tg::index_t> Ms;
  bool peer = false;
  for (const auto& [row, time] : s.times) Ms.insert(row.M), peer = peer || is_peer(row);

  out << "\nGFLOP/s at N = " << s.options.N << ", K = " << s.options.K << ", threads = " << s.options.threads
      << (peer ? "; in brackets: times as fast as the best form of ggml" : "") << "\n\n";
  for (const std::string& type : types_of(s.times)) {
    std::vector<std::string> head{type};
    for (const tg::index_t M : Ms) head.push_back("M = " + std::to_string(M));
    print_cells(out, head);
    std::set<std::pair<std::string, std::string>> contenders;
    for (const auto& [row, time] : s.times)
      if (row.type == type) contenders.insert({row.contender, row.mode});
    for (const auto& [contender, mode] : contenders) {
      std::vector<std::string> cells{"  " + contender + " " + mode};
      for (const tg::index_t M : Ms) cells.push_back(cell(s, {type, contender, mode, M}));
      print_cells(out, cells);
    }
    out << '\n';
  }
}

}  // namespace bench
