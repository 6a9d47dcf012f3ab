// Tensors of a file as what they stand for.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "gguf/gguf.hpp"
#include "gguf/sparse.hpp"

namespace gguf_gemm {

// A sparse matrix has the type, the shape and the bytes here that it would have as a standard tensor, and its place in the file.
struct entry {
  gguf::tensor tensor;
  std::optional<gguf::sparse_matrix> sparse;
};

// Throws gguf::error for a file whose list of sparse matrices is wrong.
std::vector<entry> entries_of(const gguf::file& file, std::span<const gguf::tensor* const> tensors);

}  // namespace gguf_gemm
