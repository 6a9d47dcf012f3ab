// What the program prints, as text; see report.hpp.
#include "report.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <tuple>

#include "program/types.hpp"

namespace gguf_gemm {

using program::shape_text;

namespace {

constexpr int widest_name = 40;

int width_of(const std::string& text, int most) { return std::min(static_cast<int>(text.size()), most); }

}  // namespace

void print_list(std::span<const entry> entries) {
  std::printf("%-*s  %-7s  %16s  %12s  %12s  %s\n", widest_name, "tensor", "type", "N x K", "bytes", "offset", "what it is here");
  for (const entry& e : entries) {
    const auto& [t, sparse] = e;
    std::printf("%-*s  %-7s  %16s  %12" PRIu64 "  %12" PRIu64 "  %s%s\n", widest_name, gguf::printable(t.name).c_str(),
                program::type_name(t.type).c_str(), shape_text(t).c_str(), sparse ? sparse->stored->bytes : t.bytes, t.offset,
                sparse ? "sparse " : "", describe(judge(e)));
  }
}

table::table(std::span<const entry> entries) {
  for (const entry& e : entries) {
    name_width_ = std::max(name_width_, width_of(gguf::printable(e.tensor.name), widest_name));
    shape_width_ = std::max(shape_width_, width_of(shape_text(e.tensor), widest_name));
  }
  std::printf("%-*s  %-7s  %*s  %-24s  %5s  %10s  %9s  %8s  %8s\n", name_width_, "tensor", "type", shape_width_, "N x K", "kernel", "M",
              "us", "GFLOP/s", "GB/s", "NMSE");
}

void table::print(const outcome& o) const {
  const gguf::tensor& t = *o.tensor;
  const auto start_line = [&] {
    std::printf("%-*s  %-7s  %*s  ", name_width_, gguf::printable(t.name).c_str(), program::type_name(t.type).c_str(), shape_width_,
                shape_text(t).c_str());
  };
  if (o.judged != verdict::multiply) {
    start_line();
    std::printf("%s\n", describe(o.judged));
  } else if (o.too_large) {
    start_line();
    std::printf("not run: needs %.0f MB of memory\n", 1e-6 * static_cast<double>(o.memory));
  }
  for (const product& p : o.products) {
    start_line();
    std::printf("%-24s  %5" PRId64 "  %10.1f  %9.2f  %8.2f  %8.1e\n", p.kernel.c_str(), p.M, 1e6 * p.seconds, gflops(t, p),
                weight_gbps(t, p), p.nmse);
    if (!p.sparse) continue;
    const double weights = static_cast<double>(t.dims[0]) * static_cast<double>(t.dims[1]);
    start_line();
    std::printf("%-24s  %5" PRId64 "  %10.1f  %9.2f  %8.2f  %8s  %.2fx, %s bits, density %.3f, %.3f B/weight\n", p.sparse->kernel.c_str(),
                p.M, 1e6 * p.sparse->seconds, gflops(t, p) * speed_up(p), 1e-9 * static_cast<double>(o.sparse->bytes) / p.sparse->seconds,
                "", speed_up(p), p.sparse->same_bits ? "same" : "OTHER", o.sparse->density, static_cast<double>(o.sparse->bytes) / weights);
  }
  std::fflush(stdout);
}

namespace {

// All products of the same type, shape, kernel and M.
struct total {
  std::size_t products = 0;
  double seconds = 0, flop = 0, weight_bytes = 0, nmse = 0, worst_nmse = 0;  // nmse: the sum
  double dense_seconds = 0;                                                  // beside a sparse form
};

using group = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t, tg::index_t, std::string>;  // type, N, K, M, kernel

std::map<group, total> totals(std::span<const outcome> outcomes) {
  std::map<group, total> sums;
  for (const outcome& o : outcomes) {
    const gguf::tensor& t = *o.tensor;
    for (const product& p : o.products) {
      const auto add = [&](const std::string& kernel, double seconds, double bytes, double dense_seconds) {
        total& sum = sums[{t.type, t.dims[1], t.dims[0], p.M, kernel}];
        ++sum.products;
        sum.seconds += seconds;
        sum.flop += 1e9 * gflops(t, p) * p.seconds;
        sum.weight_bytes += bytes;
        sum.nmse += p.nmse;
        sum.worst_nmse = std::max(sum.worst_nmse, p.nmse);
        sum.dense_seconds += dense_seconds;
      };
      add(p.kernel, p.seconds, static_cast<double>(t.bytes), 0);
      if (p.sparse) add(p.sparse->kernel, p.sparse->seconds, static_cast<double>(o.sparse->bytes), p.seconds);
    }
  }
  return sums;
}

void print_totals(std::span<const outcome> outcomes) {
  const std::map<group, total> sums = totals(outcomes);
  if (sums.empty()) return;
  std::printf("\nSummary: the products of each type and shape together\n%-7s  %16s  %-24s  %5s  %8s  %10s  %9s  %8s  %9s  %8s\n", "type",
              "N x K", "kernel", "M", "matrices", "ms in all", "GFLOP/s", "GB/s", "mean NMSE", "max NMSE");
  for (const auto& [key, sum] : sums) {
    const auto& [type, N, K, M, kernel] = key;
    std::printf("%-7s  %16s  %-24s  %5" PRId64 "  %8zu  %10.2f  %9.2f  %8.2f  %9.1e  %8.1e", program::type_name(type).c_str(),
                (std::to_string(N) + " x " + std::to_string(K)).c_str(), kernel.c_str(), M, sum.products, 1e3 * sum.seconds,
                1e-9 * sum.flop / sum.seconds, 1e-9 * sum.weight_bytes / sum.seconds, sum.nmse / static_cast<double>(sum.products),
                sum.worst_nmse);
    if (sum.dense_seconds > 0) std::printf("  %.2fx dense", sum.dense_seconds / sum.seconds);
    std::printf("\n");
  }
}

// What was not multiplied, each kind and type in a line.
void print_rest(std::span<const outcome> outcomes) {
  std::map<std::pair<verdict, std::uint32_t>, std::size_t> counts;
  for (const outcome& o : outcomes) {
    if (o.judged != verdict::multiply) ++counts[{o.judged, o.tensor->type}];
  }
  for (const auto& [kind, count] : counts) {
    std::printf("%zu of %s: %s\n", count, program::type_name(kind.second).c_str(), describe(kind.first));
  }
}

}  // namespace

void print_summary(const gguf::file& file, std::span<const outcome> outcomes) {
  print_totals(outcomes);
  std::printf("\n");
  print_rest(outcomes);
  double seconds = 0, bytes = 0;
  std::size_t matrices = 0;
  for (const outcome& o : outcomes) {
    if (o.products.empty()) continue;
    ++matrices;
    seconds += o.pack_seconds;
    bytes += static_cast<double>(o.packed_bytes);
  }
  std::printf("matrices packed: %zu, one at a time, %.1f MB in %.2f s; peak memory %.0f MB for a file of %.0f MB\n", matrices, 1e-6 * bytes,
              seconds, program::peak_megabytes(), 1e-6 * static_cast<double>(file.size()));
}

}  // namespace gguf_gemm
