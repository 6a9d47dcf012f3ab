// See expand.hpp.
#include "expand.hpp"

#include <tegula/thread_pool.hpp>

#include <map>

#include "copy.hpp"
#include "program/load_sparse.hpp"
#include "program/types.hpp"

namespace gguf_prune {
namespace {

gguf::tensor expanded(const gguf::sparse_matrix& m) {
  gguf::tensor t = *m.stored;
  t.type = m.type;
  t.n_dims = 2;
  t.dims = {m.columns, m.rows, 1, 1};
  return t;
}

}  // namespace

void expand(const gguf::file& file, std::span<const gguf::sparse_matrix> matrices, const options& o) {
  std::map<const gguf::tensor*, const gguf::sparse_matrix*> sparse;
  for (const gguf::sparse_matrix& m : matrices) sparse.emplace(m.stored, &m);
  std::vector<gguf::tensor> tensors;
  for (const gguf::tensor& t : file.tensors()) tensors.push_back(sparse.contains(&t) ? expanded(*sparse.at(&t)) : t);

  gguf::writer out(o.output, copied_metadata(file, gguf::sparse_keys), std::move(tensors), file.alignment());
  tg::thread_pool pool(o.threads);
  const program::progress_bar bar(file.tensors().size());
  std::size_t done = 0;
  for (const gguf::tensor& t : file.tensors()) {
    bar.show(done++, gguf::printable(t.name));
    if (!sparse.contains(&t)) {
      copy(file, t, [&](std::span<const std::byte> bytes) { out.append(bytes); });
    } else {
      const tg::any_sparse_matrix w = program::load_sparse(file, *sparse.at(&t));
      std::vector<std::byte> rows(static_cast<std::size_t>(w.rows()) * program::row_bytes(w.type(), static_cast<std::size_t>(w.cols())));
      tg::decompress(w, rows.data(), pool);
      out.append(rows);
      file.drop_pages(t, 0, t.bytes);
    }
    out.end_tensor();
  }
  out.finish();
}

}  // namespace gguf_prune
