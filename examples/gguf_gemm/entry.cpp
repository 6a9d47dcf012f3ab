// See entry.hpp.
#include "entry.hpp"

#include <map>

#include "program/types.hpp"

namespace gguf_gemm {

namespace tg = tegula;

namespace {

entry sparse_entry(const gguf::sparse_matrix& m) {
  entry e{*m.stored, m};
  e.tensor.type = m.type;
  e.tensor.n_dims = 2;
  e.tensor.dims = {m.columns, m.rows, 1, 1};
  const tg::type_id type{m.type};
  e.tensor.bytes = tg::supported(type) ? m.rows * program::row_bytes(type, m.columns) : 0;
  return e;
}

}  // namespace

std::vector<entry> entries_of(const gguf::file& file, std::span<const gguf::tensor* const> tensors) {
  const std::vector<gguf::sparse_matrix> matrices = gguf::read_sparse(file);
  std::map<const gguf::tensor*, const gguf::sparse_matrix*> sparse;
  for (const gguf::sparse_matrix& m : matrices) sparse.emplace(m.stored, &m);
  std::vector<entry> entries;
  for (const gguf::tensor* t : tensors) {
    const auto found = sparse.find(t);
    entries.push_back(found != sparse.end() ? sparse_entry(*found->second) : entry{*t, std::nullopt});
  }
  return entries;
}

}  // namespace gguf_gemm
