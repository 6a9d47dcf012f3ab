// Norms of the columns of weight matrices: how large the activations are that meet each column. Read from a GGUF file that has, for
// a matrix "name" of N x K, one of these, an F32 tensor of K elements:
//
//   name.norm      the norms
//   name.in_sum2   their squares, as llama.cpp's llama-imatrix writes them
//
// Only their ratios within a matrix matter.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "gguf/gguf.hpp"

namespace gguf_prune {

class column_norms {
 public:
  explicit column_norms(const std::string& path);

  // Of a matrix; throws std::runtime_error when the file has none for it, or not the right ones.
  std::vector<float> of(const gguf::tensor& matrix) const;

 private:
  const gguf::tensor* find(const std::string& name) const;

  std::string path_;
  gguf::file file_;
  std::map<std::string_view, const gguf::tensor*> tensors_;
};

}  // namespace gguf_prune
