// See norms.hpp.
#include "norms.hpp"

#include <cmath>
#include <cstring>
#include <stdexcept>

namespace gguf_prune {

column_norms::column_norms(const std::string& path) : path_(path), file_(path) {
  for (const gguf::tensor& t : file_.tensors()) tensors_.emplace(t.name, &t);
}

const gguf::tensor* column_norms::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found != tensors_.end() ? found->second : nullptr;
}

std::vector<float> column_norms::of(const gguf::tensor& matrix) const {
  const std::string name(matrix.name);
  const gguf::tensor* const norms = find(name + ".norm");
  const gguf::tensor* const t = norms != nullptr ? norms : find(name + ".in_sum2");
  const auto fail = [&](const std::string& problem) { throw std::runtime_error(path_ + ": " + problem); };
  if (t == nullptr) fail("no tensor " + gguf::printable(name) + ".norm or .in_sum2");
  const std::uint64_t bytes = matrix.dims[0] * sizeof(float);
  if (gguf::type_name(t->type) != "F32" || t->dims[0] != matrix.dims[0] || t->bytes != bytes) {
    fail("tensor " + gguf::printable(t->name) + " is not " + std::to_string(matrix.dims[0]) + " numbers of F32");
  }
  std::vector<float> values(static_cast<std::size_t>(matrix.dims[0]));
  std::memcpy(values.data(), file_.data(*t), static_cast<std::size_t>(bytes));
  for (float& value : values) {
    if (!(value >= 0) || std::isinf(value)) fail("tensor " + gguf::printable(t->name) + " has " + std::to_string(value) + " for a norm");
    if (norms == nullptr) value = std::sqrt(value);
  }
  return values;
}

}  // namespace gguf_prune
