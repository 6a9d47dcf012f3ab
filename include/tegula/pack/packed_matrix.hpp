// packed_matrix<F> and any_packed_matrix: N rows of K weights as panels, and pack / unpack. Nothing here is ISA-dependent.
#pragma once

#include <type_traits>
#include <utility>

#include "../core/aligned_buffer.hpp"
#include "../core/executor.hpp"
#include "../formats/all.hpp"
#include "block_codec.hpp"
#include "matrix_variant.hpp"

namespace tegula::inline TEGULA_ABI {

// W[N, K]: N outputs, K inputs.
struct weight_shape {
  index_t N = 0, K = 0;
};

// Rows first .. first + count - 1 of a matrix.
struct row_range {
  index_t first = 0, count = 0;
};

namespace detail {

struct not_initialised {};

template <block_format F>
constexpr bool is_shape(weight_shape shape) {
  return shape.N >= 0 && shape.K >= 0 && shape.N <= max_extent && shape.K <= max_extent && shape.K % traits<F>::block_k == 0;
}

template <block_format F>
void check_shape(weight_shape shape) {
  if (is_shape<F>(shape)) return;
  if (shape.N < 0 || shape.K < 0 || shape.N > max_extent || shape.K > max_extent)
    fail_argument(F::name, " matrix of N = ", shape.N, ", K = ", shape.K, ": both must be in 0 .. ", max_extent);
  fail_argument(F::name, " matrix of K = ", shape.K, ": K must be a multiple of the block, ", traits<F>::block_k);
}

}  // namespace detail

template <block_format F>
class packed_matrix {
 public:
  using format = F;

  packed_matrix() = default;
  // All weights zero bytes; fill it with pack_rows. Throws std::invalid_argument for a K that is no multiple of the block.
  explicit packed_matrix(weight_shape shape) : packed_matrix(shape, detail::not_initialised{}) {
    for (index_t p = 0; p < detail::panel_count(shape.N); ++p) clear_panel(p);
  }
  // For who writes every byte of every panel, each by the thread that will read it or by any other.
  packed_matrix(weight_shape shape, detail::not_initialised)
      : shape_((detail::check_shape<F>(shape), shape)), buffer_(packed_bytes(shape)) {}
  packed_matrix(const packed_matrix&) = default;
  packed_matrix(packed_matrix&& other) noexcept : shape_(std::exchange(other.shape_, {})), buffer_(std::move(other.buffer_)) {}
  packed_matrix& operator=(packed_matrix other) noexcept {
    std::swap(shape_, other.shape_);
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~packed_matrix() = default;

  [[nodiscard]] index_t rows() const noexcept { return shape_.N; }
  [[nodiscard]] index_t cols() const noexcept { return shape_.K; }
  [[nodiscard]] weight_shape shape() const noexcept { return shape_; }
  // Bytes held: the source's, plus zero columns up to a multiple of 16 and the padding that pack/panel.hpp names.
  [[nodiscard]] std::size_t bytes() const noexcept { return buffer_.size(); }
  [[nodiscard]] type_id type() const noexcept { return F::id; }

  [[nodiscard]] const std::byte* panel(index_t p) const noexcept { return buffer_.data() + static_cast<std::size_t>(p) * stride(); }
  [[nodiscard]] std::byte* panel(index_t p) noexcept { return buffer_.data() + static_cast<std::size_t>(p) * stride(); }

  void clear_panel(index_t p) noexcept { std::memset(panel(p), 0, stride()); }
  [[nodiscard]] detail::packed_panels panels() const noexcept { return {buffer_.data(), stride(), shape_.K}; }

  static std::size_t packed_bytes(weight_shape shape) {
    return detail::panel_layout<F>::panel_bytes(shape.K) * static_cast<std::size_t>(detail::panel_count(shape.N));
  }

 private:
  [[nodiscard]] std::size_t stride() const noexcept { return detail::panel_layout<F>::panel_bytes(shape_.K); }

  weight_shape shape_;
  aligned_buffer buffer_;
};

// Bytes of a row of K weights as it lies in a GGUF file.
template <block_format F>
constexpr std::size_t source_row_bytes(index_t K) {
  return static_cast<std::size_t>(K / detail::traits<F>::block_k) * static_cast<std::size_t>(detail::traits<F>::block_bytes);
}

namespace detail {

template <block_format F>
void check_rows(const packed_matrix<F>& w, const void* blocks, row_range rows) {
  if (blocks == nullptr && rows.count > 0 && w.cols() > 0) fail_argument("no blocks for ", rows.count, " rows of ", w.cols(), " weights");
  if (rows.first < 0 || rows.count < 0 || rows.first > w.rows() || rows.count > w.rows() - rows.first)
    fail_argument("rows ", rows.first, " .. + ", rows.count, " of a matrix of ", w.rows(), " rows");
}

}  // namespace detail

namespace detail {

// Calls function(panel, its columns, their first source row) for the panels that rows lie in.
template <class Function>
void for_each_panel_of(row_range rows, Function function) {
  for (index_t done = 0; done < rows.count;) {
    const index_t n = rows.first + done, column = n % NR, rest = rows.count - done, count = rest < NR - column ? rest : NR - column;
    function(n / NR, column_range{static_cast<std::size_t>(column), static_cast<std::size_t>(count)}, static_cast<std::size_t>(done));
    done += count;
  }
}

}  // namespace detail

// Packs `rows` of W from blocks, which hold exactly these rows. Ranges may come in any order, and disjoint ones from several
// threads at once, so that a model can be streamed. Throws std::invalid_argument for rows outside the matrix.
template <block_format F>
void pack_rows(packed_matrix<F>& w, const void* blocks, row_range rows) {
  detail::check_rows(w, blocks, rows);
  const auto* source = static_cast<const unsigned char*>(blocks);
  detail::for_each_panel_of(rows, [&](index_t panel, detail::column_range columns, std::size_t row) {
    detail::pack_columns<F>(source + row * source_row_bytes<F>(w.cols()), w.cols(), w.panel(panel), columns);
  });
}

// The inverse: writes `rows` of W as they lay in the file, byte for byte.
template <block_format F>
void unpack_rows(const packed_matrix<F>& w, void* blocks, row_range rows) {
  detail::check_rows(w, blocks, rows);
  auto* target = static_cast<unsigned char*>(blocks);
  detail::for_each_panel_of(rows, [&](index_t panel, detail::column_range columns, std::size_t row) {
    detail::unpack_columns<F>(w.panel(panel), columns, w.cols(), target + row * source_row_bytes<F>(w.cols()));
  });
}

namespace detail {

// Splits N rows into panels, one task each.
template <class Executor, class Function>
void for_each_panel(index_t N, Executor& executor, Function function) {
  executor.parallel_for(panel_count(N), [&](index_t p) {
    const index_t first = p * NR, rest = N - first;
    function(row_range{first, rest < NR ? rest : NR});
  });
}

}  // namespace detail

// Packs N rows of K weights, as they lie in a GGUF file (any alignment). Throws std::invalid_argument if K is no multiple of
// the format's block.
template <block_format F, class Executor = serial_executor>
  requires whole_executor<Executor>
packed_matrix<F> pack(const void* blocks, weight_shape shape, Executor&& executor = {}) {
  packed_matrix<F> w(shape, detail::not_initialised{});
  detail::check_rows(w, blocks, {0, shape.N});
  const auto* source = static_cast<const unsigned char*>(blocks);
  detail::for_each_panel(shape.N, executor, [&](row_range rows) {
    w.clear_panel(rows.first / detail::NR);
    pack_rows(w, source + static_cast<std::size_t>(rows.first) * source_row_bytes<F>(shape.K), rows);
  });
  return w;
}

// Writes all of W back, rows() rows of source_row_bytes, byte for byte as they were.
template <block_format F, class Executor = serial_executor>
  requires executor<Executor>
void unpack(const packed_matrix<F>& w, void* blocks, Executor&& executor = {}) {
  detail::check_rows(w, blocks, {0, w.rows()});
  auto* target = static_cast<unsigned char*>(blocks);
  detail::for_each_panel(w.rows(), executor, [&](row_range rows) {
    unpack_rows(w, target + static_cast<std::size_t>(rows.first) * source_row_bytes<F>(w.cols()), rows);
  });
}

// A packed matrix whose format is known at run time only.
class any_packed_matrix : public detail::matrix_of_formats<packed_matrix, all_formats>::type {
 public:
  template <block_format F>
  any_packed_matrix(packed_matrix<F> w) : matrix_variant(std::move(w)) {}  // NOLINT: a conversion is what is wanted
};

// The same by ggml type number; see the typed forms. Throws std::invalid_argument for a type that is not supported.
template <class Executor = serial_executor>
  requires whole_executor<Executor>
any_packed_matrix pack(type_id type, const void* blocks, weight_shape shape, Executor&& executor = {}) {
  return visit(type, [&](auto format) { return any_packed_matrix(pack<decltype(format)>(blocks, shape, executor)); });
}
inline any_packed_matrix empty_packed_matrix(type_id type, weight_shape shape) {
  return visit(type, [&](auto format) { return any_packed_matrix(packed_matrix<decltype(format)>(shape)); });
}
inline void pack_rows(any_packed_matrix& w, const void* blocks, row_range rows) {
  w.visit([&](auto& typed) { pack_rows(typed, blocks, rows); });
}
template <class Executor = serial_executor>
  requires executor<Executor>
void unpack(const any_packed_matrix& w, void* blocks, Executor&& executor = {}) {
  w.visit([&](const auto& typed) { unpack(typed, blocks, executor); });
}

}  // namespace tegula::inline TEGULA_ABI
