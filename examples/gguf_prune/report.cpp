// See report.hpp.
#include "report.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <map>

#include "program/types.hpp"

namespace gguf_prune {

using nlohmann::json;
using program::shape_text;

namespace {

constexpr int widest_name = 40;

int width_of(const std::string& text) { return std::min(static_cast<int>(text.size()), widest_name); }

// "Q4_1 -> BF16", or one name where the type stays.
std::string types_text(const plan& p) {
  const std::string before = gguf::type_name(p.tensor->type), after = program::type_name(p.stored.value);
  return before == after ? before : before + " -> " + after;
}

std::string fate_of(const plan& p) {
  if (!p.pruned) return p.note;
  return p.problem.empty() ? "pruned, " + types_text(p) : "cannot be pruned: " + p.problem;
}

json describe_plan(const plan& p) {
  json value = program::describe_tensor(*p.tensor);
  value["status"] = fate_of(p);
  if (p.pruned) value["stored_type"] = program::type_name(p.stored.value);
  return value;
}

json describe_result(const result& r) {
  json value = describe_plan(*r.what);
  value["bytes_after"] = r.bytes;
  if (!r.what->pruned) return value;
  value["weights"] = r.sums.weights;
  value["pruned"] = r.sums.pruned;
  value["zeros"] = r.sums.zeros;
  value["sparsity"] = r.sums.sparsity();
  value["energy_lost"] = r.sums.energy_lost();
  value["nmse"] = r.sums.nmse();
  if (r.density) value["density"] = *r.density;
  return value;
}

}  // namespace

void print_list(std::span<const plan> plans) {
  std::printf("%-*s  %-7s  %16s  %12s  %s\n", widest_name, "tensor", "type", "N x K", "bytes", "what becomes of it");
  for (const plan& p : plans) {
    std::printf("%-*s  %-7s  %16s  %12" PRIu64 "  %s\n", widest_name, gguf::printable(p.tensor->name).c_str(),
                gguf::type_name(p.tensor->type).c_str(), shape_text(*p.tensor).c_str(), p.tensor->bytes, fate_of(p).c_str());
  }
}

table::table(std::span<const plan> plans) {
  for (const plan& p : plans) {
    if (!p.pruned) continue;
    name_width_ = std::max(name_width_, width_of(gguf::printable(p.tensor->name)));
    shape_width_ = std::max(shape_width_, width_of(shape_text(*p.tensor)));
  }
  std::printf("%-*s  %-14s  %*s  %11s  %8s  %11s  %9s  %12s  %12s  %8s\n", name_width_, "tensor", "type", shape_width_, "N x K", "zeros",
              "sparsity", "energy lost", "NMSE", "bytes", "bytes after", "B/weight");
}

void table::print(const result& r) const {
  if (!r.what->pruned) return;
  const gguf::tensor& t = *r.what->tensor;
  std::printf("%-*s  %-14s  %*s  %11" PRIu64 "  %6.2f %%  %9.3f %%  %9.2e  %12" PRIu64 "  %12" PRIu64 "  %8.3f\n", name_width_,
              gguf::printable(t.name).c_str(), types_text(*r.what).c_str(), shape_width_, shape_text(t).c_str(), r.sums.zeros,
              100 * r.sums.sparsity(), 100 * r.sums.energy_lost(), r.sums.nmse(), t.bytes, r.bytes,
              static_cast<double>(r.bytes) / static_cast<double>(r.sums.weights));
  std::fflush(stdout);
}

void print_summary(std::span<const result> results) {
  outcome all;
  std::uint64_t before = 0, after = 0;
  std::size_t pruned = 0;
  std::map<std::string, std::size_t> copied;
  for (const result& r : results) {
    if (!r.what->pruned) {
      ++copied[r.what->note];
      continue;
    }
    ++pruned;
    all += r.sums;
    before += r.what->tensor->bytes;
    after += r.bytes;
  }
  std::printf("\n%zu matrices pruned", pruned);
  if (pruned > 0) {
    std::printf(": %" PRIu64 " of %" PRIu64 " weights are zero, %.2f %%; energy lost %.3f %%, NMSE %.2e; %.1f MB, %.1f MB before",
                all.zeros, all.weights, 100 * all.sparsity(), 100 * all.energy_lost(), all.nmse(), 1e-6 * static_cast<double>(after),
                1e-6 * static_cast<double>(before));
  }
  std::printf("\n");
  for (const auto& [note, count] : copied) std::printf("%zu tensors %s\n", count, note.c_str());
  std::printf("peak memory %.0f MB\n", program::peak_megabytes());
}

json list_json(const gguf::file& file, const options& o, std::span<const plan> plans) {
  json list = json::array();
  for (const plan& p : plans) list.push_back(describe_plan(p));
  return {{"file", program::describe_file(file, o.path)}, {"tensors", list}};
}

json results_json(const gguf::file& file, const options& o, std::span<const result> results) {
  json list = json::array();
  for (const result& r : results) list.push_back(describe_result(r));
  return {{"file", program::describe_file(file, o.path)}, {"output", o.output}, {"method", describe(o.how)}, {"tensors", list}};
}

}  // namespace gguf_prune
