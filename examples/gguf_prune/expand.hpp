// From a sparse GGUF file back to one that any reader takes.
#pragma once

#include "gguf/gguf.hpp"
#include "gguf/sparse.hpp"
#include "options.hpp"

namespace gguf_prune {

// Writes what pruning without --sparse would have written, to the byte.
void expand(const gguf::file& file, std::span<const gguf::sparse_matrix> matrices, const options& o);

}  // namespace gguf_prune
