// A pruned matrix in the form of a sparse GGUF file; see gguf/sparse.hpp.
#pragma once

#include "plan.hpp"
#include "prune.hpp"

namespace gguf_prune {

// Compresses the rows of p.stored and hands on what tegula::save() writes. Returns the density of the sparse matrix.
double write_sparse(const plan& p, std::span<const std::byte> rows, tg::thread_pool& pool, const byte_sink& take);

}  // namespace gguf_prune
