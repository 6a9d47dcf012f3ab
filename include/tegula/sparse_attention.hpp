// Attention of one query token over a KV cache that is compressed per head, as the weights of sparse products are: scores and mix are
// products of sparse_matrix.hpp. The rest of the library does not need this file. docs/sparse-attention.md says what it computes.
#pragma once

#include <vector>

#include "gemm.hpp"

namespace tegula::inline TEGULA_ABI {

// Shares of the elements of K and of V, 0 .. 1, that are pruned: in each head, of up to kv_segment_positions positions, those of the
// smallest magnitude.
struct kv_sparsity {
  double k = 0, v = 0;
};

// Compressing splits a sequence into segments of at most so many positions. Each is a task of attend().
inline constexpr index_t kv_segment_positions = 1024;

namespace detail {

// A KV head over some positions: K[positions, head_dim] and V^T[head_dim, positions].
template <class Matrix>
struct kv_head {
  Matrix k, v;
};

// Consecutive positions, all heads. The matrices may have room for more positions, which are zero.
template <class Matrix>
struct kv_segment {
  row_range positions;
  std::vector<kv_head<Matrix>> heads;
};

// Columns first .. first + dim - 1 of some rows, as elements of a cache: element (position, d) at position * position_step + d * d_step.
template <class E, class T>
std::vector<E> elements_of_head(matrix_view<T> rows, row_range positions, index_t first, index_t dim, index_t position_step,
                                index_t d_step) {
  std::vector<E> out(static_cast<std::size_t>(positions.count * dim));
  for (index_t p = 0; p < positions.count; ++p)
    for (index_t d = 0; d < dim; ++d) {
      const T& x = rows.row(positions.first + p)[first + d];
      E& to = out[static_cast<std::size_t>(p * position_step + d * d_step)];
      if constexpr (std::is_same_v<std::remove_const_t<T>, E>) to = x;
      else to = E(static_cast<float>(x));
    }
  return out;
}

// Sets all but the `kept` elements of the largest magnitude to 0; of those that are equal the first are kept.
template <class E>
void prune(std::vector<E>& elements, std::size_t kept) {
  if (kept >= elements.size()) return;
  const auto magnitude = [](E x) { return std::size_t{x.bits & 0x7fffu}; };  // in the order of the numbers, NaN above all
  std::vector<std::size_t> count(0x8000);
  for (const E x : elements) ++count[magnitude(x)];
  std::size_t least = count.size(), above = 0;  // elements above `least`
  for (std::size_t reached = 0; reached < kept; reached += count[least]) above = reached, --least;
  std::size_t equal = kept - above;
  for (E& x : elements) {
    if (magnitude(x) > least || (magnitude(x) == least && equal > 0)) equal -= magnitude(x) == least;
    else x = E{};
  }
}

// Those of `used` elements that a share of pruned ones leaves.
inline std::size_t kept_of(index_t used, double sparsity) {
  return static_cast<std::size_t>(used - static_cast<index_t>(sparsity * static_cast<double>(used)));
}

template <class Matrix, class E>
Matrix matrix_of(const std::vector<E>& elements, weight_shape shape) {
  if constexpr (is_sparse<Matrix>) return compress<typename Matrix::format>(elements.data(), shape);
  else return pack<typename Matrix::format>(elements.data(), shape);
}

// Column k of W[N, K].
template <float_format F>
void pack_column(packed_matrix<F>& w, const typename F::element* column, index_t k) {
  constexpr index_t step = panel_layout<F>::k_step;
  for (index_t n = 0; n < w.rows(); ++n)
    std::memcpy(w.panel(n / NR) + static_cast<std::size_t>((k / step * NR + n % NR) * step + k % step) * sizeof *column, column + n,
                sizeof *column);
}

inline void check_sparsity(kv_sparsity sparsity) {
  if (!(sparsity.k >= 0 && sparsity.k <= 1 && sparsity.v >= 0 && sparsity.v <= 1))
    fail_argument("sparsity of K ", sparsity.k, ", of V ", sparsity.v, ": must be in 0 .. 1");
}

}  // namespace detail

// K and V of one sequence: compressed segments, which do not change, and behind them the newest positions, dense. `Matrix`: what segments
// are held as, sparse_matrix<bf16> or sparse_matrix<f16>; with packed_matrix it is the dense twin, whose attention has the same bits.
//
// K and V come as rows of [KV head][head_dim], one a position, in float, f16 or bf16; other elements than the cache's are rounded to them.
// K is taken as the query will meet it, rotated if the model rotates.
template <class Matrix>
  requires detail::is_typed_weights<Matrix> && float_format<typename Matrix::format> && sparse_format<typename Matrix::format>
class kv_cache {
 public:
  using format = typename Matrix::format;
  using element = typename format::element;
  using tail_segment = detail::kv_segment<packed_matrix<format>>;

  // An empty cache. `tail`: positions that there is room for at its dense end. Each attend() computes the scores of all of them.
  // Throws std::invalid_argument unless heads and head_dim are at least 1 and tail is at least 0.
  kv_cache(index_t heads, index_t head_dim, index_t tail = 128) : heads_(heads), head_dim_(head_dim), room_(tail) {
    if (heads < 1 || head_dim < 1 || tail < 0 || heads > detail::max_extent / head_dim || tail > detail::max_extent)
      detail::fail_argument("KV cache of ", heads, " heads of ", head_dim, " with a tail of ", tail, " positions: needs 1, 1, 0 or more, ",
                            "and heads * head_dim and tail at most ", detail::max_extent);
    start_tail(0);
  }

  [[nodiscard]] index_t heads() const noexcept { return heads_; }
  [[nodiscard]] index_t head_dim() const noexcept { return head_dim_; }
  [[nodiscard]] index_t positions() const noexcept { return tail_.positions.first + tail_.positions.count; }
  [[nodiscard]] index_t tail_positions() const noexcept { return tail_.positions.count; }
  // Bytes held, the whole tail included.
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum = bytes_of(tail_);
    for (const segment& s : segments_) sum += bytes_of(s);
    return sum;
  }

  // Compresses positions at once: a prompt. A task for each head of each segment. Throws std::invalid_argument for K or V of another
  // shape, a sparsity outside 0 .. 1, or while positions are in the tail.
  template <class K, class V, class Executor = serial_executor>
    requires whole_executor<Executor>
  void prefill(matrix_view<K> k, matrix_view<V> v, kv_sparsity sparsity, Executor&& executor = {}) {
    check_rows(k, v);
    detail::check_sparsity(sparsity);
    if (tail_positions() > 0)
      detail::fail_argument("prefill of a KV cache with ", tail_positions(), " positions in its tail: fold it first");
    std::vector<segment> added;
    for (index_t first = 0; first < k.rows(); first += kv_segment_positions)
      added.push_back(make_segment({first, k.rows() - first < kv_segment_positions ? k.rows() - first : kv_segment_positions}));
    executor.parallel_for(static_cast<index_t>(added.size()) * heads_, [&](index_t i) {
      segment& s = added[static_cast<std::size_t>(i / heads_)];
      const index_t column = i % heads_ * head_dim_, count = s.positions.count;
      s.heads[static_cast<std::size_t>(i % heads_)] =
          pruned_head(detail::elements_of_head<element>(k, s.positions, column, head_dim_, head_dim_, 1),
                      detail::elements_of_head<element>(v, s.positions, column, head_dim_, 1, count), count, count, sparsity);
    });
    for (segment& s : added) {
      s.positions.first += tail_.positions.first;
      segments_.push_back(std::move(s));
    }
    tail_.positions.first += k.rows();
  }

  // Adds positions, dense. Throws std::invalid_argument for K or V of another shape, or more positions than the tail has room for.
  template <class K, class V>
  void append(matrix_view<K> k, matrix_view<V> v) {
    check_rows(k, v);
    if (k.rows() > room_ - tail_positions())
      detail::fail_argument("appending ", k.rows(), " positions to a tail with ", tail_positions(), " of ", room_, ": fold it first");
    for (index_t i = 0; i < k.rows(); ++i, ++tail_.positions.count)
      for (index_t h = 0; h < heads_; ++h) {
        auto& head = tail_.heads[static_cast<std::size_t>(h)];
        pack_rows(head.k, detail::elements_of_head<element>(k, {i, 1}, h * head_dim_, head_dim_, 0, 1).data(), {tail_positions(), 1});
        detail::pack_column(head.v, detail::elements_of_head<element>(v, {i, 1}, h * head_dim_, head_dim_, 0, 1).data(), tail_positions());
      }
  }

  // Compresses the tail, a task for each head; it is empty then. Throws std::invalid_argument for a sparsity outside 0 .. 1.
  template <class Executor = serial_executor>
    requires whole_executor<Executor>
  void fold(kv_sparsity sparsity, Executor&& executor = {}) {
    detail::check_sparsity(sparsity);
    if (tail_positions() == 0) return;
    segment folded = make_segment(tail_.positions);
    executor.parallel_for(heads_, [&](index_t h) {
      const auto& head = tail_.heads[static_cast<std::size_t>(h)];
      std::vector<element> k(static_cast<std::size_t>(room_ * head_dim_)), v(k.size());
      unpack(head.k, k.data());
      unpack(head.v, v.data());
      folded.heads[static_cast<std::size_t>(h)] = pruned_head(std::move(k), std::move(v), room_, tail_positions(), sparsity);
    });
    segments_.push_back(std::move(folded));
    start_tail(positions());
  }

  // Segments and tail, for attend().
  [[nodiscard]] const std::vector<detail::kv_segment<Matrix>>& segments() const noexcept { return segments_; }
  [[nodiscard]] const tail_segment& tail() const noexcept { return tail_; }

 private:
  using segment = detail::kv_segment<Matrix>;

  template <class Segment>
  static std::size_t bytes_of(const Segment& s) noexcept {
    std::size_t sum = 0;
    for (const auto& head : s.heads) sum += head.k.bytes() + head.v.bytes();
    return sum;
  }

  template <class K, class V>
  void check_rows(const matrix_view<K>& k, const matrix_view<V>& v) const {
    static_assert(detail::element<std::remove_const_t<K>> && detail::element<std::remove_const_t<V>>, "K and V hold float, f16 or bf16");
    if (k.rows() != v.rows() || k.cols() != heads_ * head_dim_ || v.cols() != k.cols())
      detail::fail_argument("K is ", k.rows(), " x ", k.cols(), ", V is ", v.rows(), " x ", v.cols(), ": a cache of ", heads_, " heads of ",
                            head_dim_, " needs ", heads_ * head_dim_, " columns, and as many rows in both");
  }

  [[nodiscard]] segment make_segment(row_range positions) const {
    return {positions, std::vector<detail::kv_head<Matrix>>(static_cast<std::size_t>(heads_))};
  }

  // Of `positions`, the first `used` of which are not zero throughout.
  [[nodiscard]] detail::kv_head<Matrix> pruned_head(std::vector<element> k, std::vector<element> v, index_t positions, index_t used,
                                                    kv_sparsity sparsity) const {
    detail::prune(k, detail::kept_of(used * head_dim_, sparsity.k));
    detail::prune(v, detail::kept_of(used * head_dim_, sparsity.v));
    return {detail::matrix_of<Matrix>(k, {.N = positions, .K = head_dim_}), detail::matrix_of<Matrix>(v, {.N = head_dim_, .K = positions})};
  }

  void start_tail(index_t first) {
    const detail::kv_head<packed_matrix<format>> head{packed_matrix<format>({.N = room_, .K = head_dim_}),
                                                      packed_matrix<format>({.N = head_dim_, .K = room_})};
    tail_ = {{first, 0}, {static_cast<std::size_t>(heads_), head}};
  }

  index_t heads_, head_dim_, room_;
  std::vector<segment> segments_;
  tail_segment tail_;
};

template <sparse_format F>
using sparse_kv_cache = kv_cache<sparse_matrix<F>>;
template <sparse_format F>
using dense_kv_cache = kv_cache<packed_matrix<F>>;

struct attention_options {
  std::optional<index_t> window{};  // only so many of the newest positions are seen; unset: all
  gemm_options gemm{};              // of the two products; compute: exact by default, or bf16
};

namespace detail {

// The segments of a cache, the tail the last, that have positions from `first` on.
template <class Matrix>
class seen_segments {
 public:
  seen_segments(const kv_cache<Matrix>& cache, index_t first) : cache_(cache), first_(first) {
    while (hidden_ < compressed() && cache.segments()[hidden_].positions.first + cache.segments()[hidden_].positions.count <= first)
      ++hidden_;
  }
  [[nodiscard]] index_t count() const noexcept {
    return static_cast<index_t>(compressed() - hidden_) + (cache_.tail_positions() > 0 ? 1 : 0);
  }
  // Calls function(heads, seen positions, counted from the segment's start) with segment i of count().
  template <class Function>
  void visit(index_t i, Function function) const {
    const auto call = [&](const auto& segment) {
      const index_t unseen = first_ > segment.positions.first ? first_ - segment.positions.first : 0;
      function(segment.heads, row_range{unseen, segment.positions.count - unseen});
    };
    const std::size_t s = hidden_ + static_cast<std::size_t>(i);
    if (s < compressed()) call(cache_.segments()[s]);
    else call(cache_.tail());
  }

 private:
  [[nodiscard]] std::size_t compressed() const noexcept { return cache_.segments().size(); }

  const kv_cache<Matrix>& cache_;
  index_t first_;
  std::size_t hidden_ = 0;
};

// The part that a segment's head has in the attention of the query heads that share it.
template <class Matrix, class Q>
void attend_head(const kv_head<Matrix>& head, row_range seen, matrix_view<Q> q, float scale, const softmax_parts& part,
                 const gemm_options& options) {
  const index_t positions = head.k.rows(), stride = round_up(positions, index_t{NR});
  std::vector<float> scores(static_cast<std::size_t>(q.rows() * stride));
  gemm(q, head.k, matrix_view<float>(scores.data(), q.rows(), positions, stride), options);
  with_kernels(resolve_isa(options.isa), [&](auto kernels) {
    for (index_t m = 0; m < q.rows(); ++m)
      kernels.softmax(scores.data() + m * stride, stride, seen.first, seen.first + seen.count, scale, part.largest[m], part.sums[m]);
  });
  gemm(matrix_view<const float>(scores.data(), q.rows(), positions, stride), head.v,
       matrix_view<float>(part.mixes, q.rows(), head.v.rows(), part.columns), options);
}

template <class Matrix, class Q, class Out>
void check_attention(const kv_cache<Matrix>& cache, const matrix_view<Q>& q, const matrix_view<Out>& out,
                     const attention_options& options) {
  static_assert(element<std::remove_const_t<Q>> && element<Out>, "queries and outputs are float, f16 or bf16");
  if (q.rows() % cache.heads() != 0 || q.cols() != cache.head_dim())
    fail_argument("queries are ", q.rows(), " heads of ", q.cols(), ", the KV cache has ", cache.heads(), " heads of ", cache.head_dim(),
                  ": needs a multiple of its heads, and the same head_dim");
  if (out.rows() != q.rows() || out.cols() != q.cols())
    fail_argument("outputs are ", out.rows(), " x ", out.cols(), ", queries ", q.rows(), " x ", q.cols());
  if (cache.positions() == 0) fail_argument("attention over a KV cache of 0 positions");
  if (options.window && *options.window < 1) fail_argument("attention to a window of ", *options.window, " positions: must be at least 1");
  a_kind_for<typename Matrix::format>(resolve(options.gemm.compute.value_or(compute::exact)));
}

}  // namespace detail

// out[query head] = sum over the positions p of softmax(q . K[p] * scale) * V[p], for each query head of one token.
//
// cache     query head h meets KV head h / (query heads / KV heads)
// q, out    matrix_view [query heads, head_dim] of float, f16 or bf16
// scale     of the scores: 1 / sqrt(head_dim) for most models
// executor  gets a task for each KV head of each segment, then one for each KV head; the result does not depend on it
//
// A NaN or +Inf among a query head's scores makes its output NaN; -Inf is a weight of 0, and NaN if all are. Allocates a few floats a
// segment and query head for what the segments have in common, and in each task the scores of a segment, twice.
// Throws std::invalid_argument for shapes that do not fit, a cache without positions, a window below 1, an ISA that cannot run here, and
// requantized mode.
template <class Matrix, class Q, class Out, class Executor = serial_executor>
  requires whole_executor<Executor>
void attend(const kv_cache<Matrix>& cache, matrix_view<Q> q, matrix_view<Out> out, float scale, Executor&& executor = {},
            attention_options options = {}) {
  detail::check_attention(cache, q, out, options);
  const isa best = detail::resolve_isa(options.gemm.isa);
  if (q.rows() == 0) return;
  const index_t window = options.window.value_or(cache.positions());
  const detail::seen_segments segments(cache, window < cache.positions() ? cache.positions() - window : 0);

  using parts = detail::softmax_parts;
  const index_t group = q.rows() / cache.heads(), columns = detail::round_up(cache.head_dim(), index_t{detail::NR});
  const index_t per_head = parts::floats(segments.count(), group, columns);
  std::vector<float> memory(static_cast<std::size_t>(per_head * cache.heads()));
  const auto parts_of = [&](index_t head) { return parts::in(memory.data() + head * per_head, segments.count(), group, columns); };

  executor.parallel_for(segments.count() * cache.heads(), [&](index_t i) {
    const index_t head = i % cache.heads(), part = i / cache.heads();
    const matrix_view<Q> queries(q.row(head * group), group, q.cols(), q.stride());
    segments.visit(part, [&](const auto& heads, row_range seen) {
      detail::attend_head(heads[static_cast<std::size_t>(head)], seen, queries, scale, parts_of(head).from(part), options.gemm);
    });
  });
  detail::with_kernels(best, [&](auto kernels) {
    executor.parallel_for(cache.heads(), [&](index_t head) {
      for (index_t m = 0; m < group; ++m) kernels.join(parts_of(head), segments.count(), m, out.row(head * group + m), out.cols());
    });
  });
}

}  // namespace tegula::inline TEGULA_ABI
