// A matrix that is one of several kinds, as the run-time forms of matrices are.
#pragma once

#include <cstddef>
#include <utility>
#include <variant>

#include "../formats/all.hpp"

namespace tegula::inline TEGULA_ABI::detail {

template <class... Matrices>
class matrix_variant {
 public:
  // Calls function with the matrix held.
  template <class Function>
  decltype(auto) visit(Function&& function) const {
    return std::visit(std::forward<Function>(function), matrix_);
  }
  template <class Function>
  decltype(auto) visit(Function&& function) {
    return std::visit(std::forward<Function>(function), matrix_);
  }

  [[nodiscard]] index_t rows() const {
    return visit([](const auto& w) { return w.rows(); });
  }
  [[nodiscard]] index_t cols() const {
    return visit([](const auto& w) { return w.cols(); });
  }
  [[nodiscard]] std::size_t bytes() const {
    return visit([](const auto& w) { return w.bytes(); });
  }
  [[nodiscard]] type_id type() const {
    return visit([](const auto& w) { return w.type(); });
  }

 protected:
  explicit matrix_variant(std::variant<Matrices...> w) : matrix_(std::move(w)) {}
  template <class Matrix>
  [[nodiscard]] bool holds() const noexcept {
    return std::holds_alternative<Matrix>(matrix_);
  }

 private:
  std::variant<Matrices...> matrix_;
};

// matrix_variant<Matrix<F>...> for the formats of a list.
template <template <class> class Matrix, class List>
struct matrix_of_formats;
template <template <class> class Matrix, class... Formats>
struct matrix_of_formats<Matrix, format_list<Formats...>> {
  using type = matrix_variant<Matrix<Formats>...>;
};

}  // namespace tegula::inline TEGULA_ABI::detail
