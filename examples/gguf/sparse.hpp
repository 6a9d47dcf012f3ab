// Sparse matrices in a GGUF file: which tensors they are. Each is a tensor of one dimension and type I8, so that any reader can list and
// copy it, whose bytes are what tegula::save() writes. Metadata say what it stands for: arrays with one element a matrix, in one order.
//
//   tegula.sparse.version  u32       1
//   tegula.sparse.tensors  string[]  names
//   tegula.sparse.types    u32[]     type of the weights, ggml's number
//   tegula.sparse.rows     u64[]     N
//   tegula.sparse.columns  u64[]     K
#pragma once

#include <string_view>
#include <vector>

#include "gguf.hpp"
#include "writer.hpp"

namespace gguf {

inline constexpr std::uint32_t sparse_type = 24;  // I8

struct sparse_matrix {
  std::string_view name;
  std::uint32_t type = 0;
  std::uint64_t rows = 0, columns = 0;
  const tensor* stored = nullptr;
};

// Keys of a file that only add_sparse() may write start so.
inline constexpr std::string_view sparse_keys = "tegula.sparse.";

void add_sparse(metadata_writer& metadata, std::span<const sparse_matrix> matrices);

// None for a file without these keys. Throws gguf::error for a list that contradicts itself or the file, or claims more weights than its
// tensors' bytes can hold. The bytes themselves are not looked at.
std::vector<sparse_matrix> read_sparse(const file& from);

}  // namespace gguf
