// What the program prints: the list of tensors, the table of products, the summary, the JSON, the progress bar.
#pragma once

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "gguf.hpp"
#include "job.hpp"
#include "options.hpp"

namespace gguf_gemm {

std::string shape_text(const gguf::tensor& t);  // "N x K"; of other tensors all dimensions, outermost first

void print_file(const gguf::file& file);  // version, architecture, counts
void print_list(std::span<const gguf::tensor* const> tensors);

// One line a product, printed as the outcomes come.
class table {
 public:
  explicit table(std::span<const gguf::tensor* const> tensors);
  void print(const outcome& o) const;

 private:
  int name_width_ = 6, shape_width_ = 5;  // of the headings
};

// Products by type, shape and M; then what was not multiplied, by type.
void print_summary(const gguf::file& file, std::span<const outcome> outcomes);

std::string list_json(const gguf::file& file, const options& o, std::span<const gguf::tensor* const> tensors);
std::string outcomes_json(const gguf::file& file, const options& o, int threads, std::span<const outcome> outcomes);

// A bar on stderr when that is a terminal, else nothing. clear() before anything else is printed.
class progress_bar {
 public:
  explicit progress_bar(std::size_t total);
  ~progress_bar() { clear(); }
  void show(std::size_t done, const std::string& now) const;
  void clear() const;

 private:
  std::size_t total_;
  bool on_;
};

}  // namespace gguf_gemm
