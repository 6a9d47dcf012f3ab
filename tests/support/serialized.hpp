// Matrices as the bytes that save() writes.
#pragma once

#include <tegula/pack/serialize.hpp>

#include <sstream>
#include <string>

namespace tests {

template <class Matrix>
std::string saved(const Matrix& w) {
  std::ostringstream out;
  tegula::save(w, out);
  return out.str();
}
template <class Matrix>
Matrix loaded(const std::string& file) {
  std::istringstream in(file);
  return tegula::load<Matrix>(in);
}

}  // namespace tests
