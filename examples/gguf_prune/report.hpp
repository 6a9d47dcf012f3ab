// What the program prints: the list of tensors, the table of pruned ones, the summary, the JSON.
#pragma once

#include <span>
#include <vector>

#include "plan.hpp"
#include "prune.hpp"

namespace gguf_prune {

// What became of a tensor. Of one that was copied, only the bytes count.
struct result {
  const plan* what = nullptr;
  outcome sums;
  std::uint64_t bytes = 0;        // in the new file
  std::optional<double> density;  // of a sparse matrix: the share of weights that it holds
};

void print_list(std::span<const plan> plans);

// One line a pruned tensor, printed as the results come.
class table {
 public:
  explicit table(std::span<const plan> plans);
  void print(const result& r) const;

 private:
  int name_width_ = 6, shape_width_ = 5;  // of the headings
};

void print_summary(std::span<const result> results);

nlohmann::json list_json(const gguf::file& file, const options& o, std::span<const plan> plans);
nlohmann::json results_json(const gguf::file& file, const options& o, std::span<const result> results);

}  // namespace gguf_prune
