// matrix_view: a row-major matrix that someone else owns.
#pragma once

#include "error.hpp"

namespace tegula::inline TEGULA_ABI {

// rows x cols elements of T; row i starts at data + i * stride (stride in elements).
template <class T>
class matrix_view {
 public:
  // Throws std::invalid_argument for a negative size, a stride below cols, or no data for a matrix that is not empty.
  matrix_view(T* data, index_t rows, index_t cols, index_t stride) : data_(data), rows_(rows), cols_(cols), stride_(stride) {
    if (rows < 0 || cols < 0 || stride < cols)
      detail::fail_argument("matrix_view of ", rows, " x ", cols, " with a row stride of ", stride,
                            ": sizes must be >= 0 and the stride >= the columns");
    index_t end = 0;  // in bytes
    if (rows > 0 && (__builtin_mul_overflow(rows, stride, &end) || __builtin_mul_overflow(end, static_cast<index_t>(sizeof(T)), &end)))
      detail::fail_argument("matrix_view of ", rows, " x ", cols, " with a row stride of ", stride, ": more bytes than 64 bits can count");
    if (data == nullptr && rows > 0 && cols > 0) detail::fail_argument("matrix_view of ", rows, " x ", cols, " without data");
  }
  matrix_view(T* data, index_t rows, index_t cols) : matrix_view(data, rows, cols, cols) {}

  [[nodiscard]] T* row(index_t i) const noexcept { return data_ + i * stride_; }
  [[nodiscard]] index_t rows() const noexcept { return rows_; }
  [[nodiscard]] index_t cols() const noexcept { return cols_; }
  [[nodiscard]] index_t stride() const noexcept { return stride_; }

 private:
  T* data_;
  index_t rows_, cols_, stride_;
};

}  // namespace tegula::inline TEGULA_ABI
