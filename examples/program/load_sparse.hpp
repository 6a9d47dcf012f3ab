// The bytes of a sparse matrix in a GGUF file, as tegula takes them.
#pragma once

#include <tegula/tegula.hpp>

#include "gguf/gguf.hpp"
#include "gguf/sparse.hpp"

namespace program {

// Throws std::runtime_error, with the tensor's name, for bytes that are damaged or are not the matrix that the file's list says.
tegula::any_sparse_matrix load_sparse(const gguf::file& file, const gguf::sparse_matrix& m);

}  // namespace program
