// sparse_matrix<F> and any_sparse_matrix: N rows of K weights as sparse panels, and compress / decompress. Nothing here is ISA-dependent.
#pragma once

#include <vector>

#include "packed_matrix.hpp"
#include "sparse_codec.hpp"

namespace tegula::inline TEGULA_ABI {

// The formats that sparse matrices hold.
using sparse_formats = format_list<f16, bf16, q4_0, q8_0, q4_k, q8_256>;

namespace detail {

template <class... Formats>
std::string names_of(format_list<Formats...>) {
  std::string names;
  ((names += (names.empty() ? "" : ", ") + std::string(Formats::name)), ...);
  return names;
}

inline void check_source(const void* blocks, weight_shape shape) {
  if (blocks == nullptr && shape.N > 0 && shape.K > 0) fail_argument("no blocks for ", shape.N, " rows of ", shape.K, " weights");
}

}  // namespace detail

template <class F>
concept sparse_format = block_format<F> && detail::contains(F::id, sparse_formats{});

// W[N, K] without its zeros: 0 in f16 and bf16, a quant that stands for 0 in the others (of Q4_K, whose minima decide, the quant 8: a zero
// where a group's minimum equals its scale and dmin = 8 d).
//
//   heads    u64 [panels]   where the panel starts, counted from here
//   panels   each a multiple of 4 bytes
//   slack    64 bytes: what is read in whole vectors
template <sparse_format F>
class sparse_matrix {
 public:
  using format = F;

  sparse_matrix() = default;
  // From a buffer that holds the above.
  sparse_matrix(weight_shape shape, aligned_buffer buffer, std::size_t nonzeros)
      : shape_(shape), nonzeros_(nonzeros), buffer_(std::move(buffer)) {}
  sparse_matrix(const sparse_matrix&) = default;
  sparse_matrix(sparse_matrix&& other) noexcept
      : shape_(std::exchange(other.shape_, {})), nonzeros_(std::exchange(other.nonzeros_, 0)), buffer_(std::move(other.buffer_)) {}
  sparse_matrix& operator=(sparse_matrix other) noexcept {
    std::swap(shape_, other.shape_);
    std::swap(nonzeros_, other.nonzeros_);
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~sparse_matrix() = default;

  [[nodiscard]] index_t rows() const noexcept { return shape_.N; }
  [[nodiscard]] index_t cols() const noexcept { return shape_.K; }
  [[nodiscard]] weight_shape shape() const noexcept { return shape_; }
  [[nodiscard]] type_id type() const noexcept { return F::id; }
  // Bytes held. Of a weight at density p about 1/8 + p * its own, plus scales and 4 bytes a tile; docs/sparse.md has the table.
  [[nodiscard]] std::size_t bytes() const noexcept { return buffer_.size(); }
  [[nodiscard]] std::size_t nonzeros() const noexcept { return nonzeros_; }
  // Weights that are kept / (N * K); 0 for an empty matrix.
  [[nodiscard]] double density() const noexcept {
    const double all = static_cast<double>(shape_.N) * static_cast<double>(shape_.K);
    return all == 0 ? 0 : static_cast<double>(nonzeros_) / all;
  }

  [[nodiscard]] const std::byte* data() const noexcept { return buffer_.data(); }
  // Panels as kernels get them: heads, which lead to the rest.
  [[nodiscard]] detail::packed_panels panels() const noexcept { return {buffer_.data(), sizeof(detail::sparse_panel_head), shape_.K}; }
  [[nodiscard]] const std::byte* panel(index_t p) const noexcept { return detail::sparse_panel_at(buffer_.data(), p); }

 private:
  weight_shape shape_;
  std::size_t nonzeros_ = 0;
  aligned_buffer buffer_;
};

namespace detail {

inline constexpr std::size_t sparse_slack = row_bytes;

constexpr std::size_t first_sparse_panel(index_t N) {
  return round_up(static_cast<std::size_t>(panel_count(N)) * sizeof(sparse_panel_head), std::size_t{row_bytes});
}

// What compress() reads: rows of F as packed panels, one at a time. F32 becomes bf16.
template <block_format F>
struct compressed {
  using format = F;
  static void pack(const unsigned char* rows, index_t K, std::byte* packed, column_range n) { pack_columns<F>(rows, K, packed, n); }
};
template <>
struct compressed<f32> {
  using format = bf16;
  static void pack(const unsigned char* rows, index_t K, std::byte* packed, column_range n) {
    for (index_t k = 0; k < K; ++k)
      for (std::size_t i = 0; i < n.count; ++i) {
        float weight;
        std::memcpy(&weight, rows + (i * static_cast<std::size_t>(K) + static_cast<std::size_t>(k)) * sizeof weight, sizeof weight);
        const bf16 rounded(weight);
        std::memcpy(packed + (static_cast<std::size_t>(k / 2 * NR * 2 + k % 2) + (n.first + i) * 2) * sizeof rounded, &rounded,
                    sizeof rounded);
      }
  }
};

// Calls function(panel number, packed panel) for each panel of W, a task for each.
template <block_format F, class Executor, class Function>
void for_each_packed(const void* blocks, weight_shape shape, Executor& executor, Function function) {
  using stored = typename compressed<F>::format;
  const auto* source = static_cast<const unsigned char*>(blocks);
  for_each_panel(shape.N, executor, [&](row_range rows) {
    aligned_buffer packed(panel_layout<stored>::panel_bytes(shape.K));
    clear_packed_panel<stored>(packed.data(), shape.K);
    compressed<F>::pack(source + static_cast<std::size_t>(rows.first) * source_row_bytes<F>(shape.K), shape.K, packed.data(),
                        {0, static_cast<std::size_t>(rows.count)});
    function(rows.first / NR, packed.data());
  });
}

// Room for panels of these sizes, with the heads that lead to them. Throws std::invalid_argument for one that its tile words cannot span.
inline aligned_buffer make_sparse_buffer(weight_shape shape, const std::vector<sparse_size>& sizes) {
  std::size_t at = first_sparse_panel(shape.N);
  std::vector<sparse_panel_head> heads;
  for (const sparse_size& size : sizes) {
    if (size.bytes > max_sparse_panel)
      fail_argument("sparse matrix of N = ", shape.N, ", K = ", shape.K, ": 16 rows take ", size.bytes, " bytes, at most ",
                    max_sparse_panel, " can be addressed");
    heads.push_back({at - heads.size() * sizeof(sparse_panel_head)});
    at += size.bytes;
  }
  aligned_buffer buffer(sizes.empty() ? 0 : at + sparse_slack);
  if (sizes.empty()) return buffer;
  std::memset(buffer.data(), 0, first_sparse_panel(shape.N));
  std::memcpy(buffer.data(), heads.data(), heads.size() * sizeof heads[0]);
  std::memset(buffer.data() + at, 0, sparse_slack);
  return buffer;
}

// The non-zeros of the panels in a buffer from elsewhere. Throws std::runtime_error for one that is no sparse matrix of this shape: after
// this, kernels may trust it.
template <block_format F>
std::size_t checked_sparse_panels(weight_shape shape, const aligned_buffer& buffer) {
  const auto fail = [&](const std::string& what) {
    fail_file("sparse matrix is corrupt: ", F::name, " of N = ", shape.N, ", K = ", shape.K, ", ", buffer.size(), " bytes: ", what);
  };
  const index_t panels = panel_count(shape.N);
  if (panels == 0) return buffer.size() == 0 ? 0 : (fail("has no rows"), 0);
  std::size_t at = first_sparse_panel(shape.N), nonzeros = 0;
  if (buffer.size() < at + sparse_slack) fail("its panels' heads do not fit");
  for (index_t p = 0; p < panels; ++p) {
    const std::size_t end = p + 1 < panels ? sparse_panel_place(buffer.data(), p + 1) : buffer.size() - sparse_slack;
    if (sparse_panel_place(buffer.data(), p) != at || end < at || end > buffer.size() - sparse_slack)
      fail("panel " + std::to_string(p) + " is not where it must be");
    const index_t rest = shape.N - p * NR;
    if (const char* why = why_no_sparse_panel<F>(buffer.data() + at, end - at, rest < NR ? rest : index_t{NR}, shape.K, nonzeros))
      fail("panel " + std::to_string(p) + ": " + why);
    at = end;
  }
  return nonzeros;
}

}  // namespace detail

// Compresses N rows of K weights, as they lie in a GGUF file (any alignment): drops what is zero. F32 weights are rounded to bf16.
// Throws std::invalid_argument if K is no multiple of the format's block.
template <block_format F, class Executor = serial_executor>
  requires sparse_format<typename detail::compressed<F>::format> && whole_executor<Executor>
sparse_matrix<typename detail::compressed<F>::format> compress(const void* blocks, weight_shape shape, Executor&& executor = {}) {
  using stored = typename detail::compressed<F>::format;
  detail::check_shape<F>(shape);
  detail::check_source(blocks, shape);
  std::vector<detail::sparse_size> sizes(static_cast<std::size_t>(detail::panel_count(shape.N)));
  detail::for_each_packed<F>(blocks, shape, executor, [&](index_t panel, const std::byte* packed) {
    sizes[static_cast<std::size_t>(panel)] = detail::measure_sparse_panel<stored>(packed, shape.K);
  });
  aligned_buffer buffer = detail::make_sparse_buffer(shape, sizes);
  detail::for_each_packed<F>(blocks, shape, executor, [&](index_t panel, const std::byte* packed) {
    detail::write_sparse_panel<stored>(packed, shape.K, detail::sparse_panel_at(buffer.data(), panel));
  });
  std::size_t nonzeros = 0;
  for (const detail::sparse_size& size : sizes) nonzeros += size.nonzeros;
  return {shape, std::move(buffer), nonzeros};
}

// The inverse: writes N rows of K weights as they lay in the file, byte for byte (of F32 weights: as bf16).
template <sparse_format F, class Executor = serial_executor>
  requires executor<Executor>
void decompress(const sparse_matrix<F>& w, void* blocks, Executor&& executor = {}) {
  detail::check_source(blocks, w.shape());
  auto* target = static_cast<unsigned char*>(blocks);
  detail::for_each_panel(w.rows(), executor, [&](row_range rows) {
    aligned_buffer packed(detail::panel_layout<F>::panel_bytes(w.cols()));
    detail::restore_packed_panel<F>(w.panel(rows.first / detail::NR), w.cols(), packed.data());
    detail::unpack_columns<F>(packed.data(), {0, static_cast<std::size_t>(rows.count)}, w.cols(),
                              target + static_cast<std::size_t>(rows.first) * source_row_bytes<F>(w.cols()));
  });
}

// A sparse matrix whose format is known at run time only.
class any_sparse_matrix : public detail::matrix_of_formats<sparse_matrix, sparse_formats>::type {
 public:
  template <sparse_format F>
  any_sparse_matrix(sparse_matrix<F> w) : matrix_variant(std::move(w)) {}  // NOLINT: a conversion is what is wanted

  [[nodiscard]] double density() const {
    return visit([](const auto& w) { return w.density(); });
  }
};

// The same by ggml type number. Throws std::invalid_argument for a type that sparse matrices do not hold.
template <class Executor = serial_executor>
  requires whole_executor<Executor>
any_sparse_matrix compress(type_id type, const void* blocks, weight_shape shape, Executor&& executor = {}) {
  return visit(type, [&]<class F>(F) -> any_sparse_matrix {
    if constexpr (sparse_format<typename detail::compressed<F>::format>) return compress<F>(blocks, shape, executor);
    else detail::fail_argument(F::name, " weights cannot be compressed: sparse matrices hold ", detail::names_of(sparse_formats{}));
  });
}
template <class Executor = serial_executor>
  requires executor<Executor>
void decompress(const any_sparse_matrix& w, void* blocks, Executor&& executor = {}) {
  w.visit([&](const auto& typed) { decompress(typed, blocks, executor); });
}

}  // namespace tegula::inline TEGULA_ABI
