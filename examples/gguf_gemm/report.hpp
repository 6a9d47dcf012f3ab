// What the program prints: the list of tensors, the table of products, the summary, the JSON.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "entry.hpp"
#include "gguf/gguf.hpp"
#include "job.hpp"
#include "options.hpp"

namespace gguf_gemm {

void print_list(std::span<const entry> entries);

// One line a product, printed as the outcomes come; two where there is a sparse form.
class table {
 public:
  explicit table(std::span<const entry> entries);
  void print(const outcome& o) const;

 private:
  int name_width_ = 6, shape_width_ = 5;  // of the headings
};

// Products by type, shape and M; then what was not multiplied, by type.
void print_summary(const gguf::file& file, std::span<const outcome> outcomes);

nlohmann::json list_json(const gguf::file& file, const options& o, std::span<const entry> entries);
nlohmann::json outcomes_json(const gguf::file& file, const options& o, int threads, std::span<const outcome> outcomes);

}  // namespace gguf_gemm
