// gemm(), dequantize() and quantize(): check the arguments, bring A into the kernels' form, hand tasks to the executor.
#pragma once

#include <array>
#include <string_view>
#include <type_traits>

#include "dispatch.hpp"
#include "pack/packed_matrix.hpp"
#include "pack/sparse_matrix.hpp"

namespace tegula::inline TEGULA_ABI {

namespace detail {

template <class T>
concept element = std::same_as<T, float> || std::same_as<T, f16> || std::same_as<T, bf16>;

inline thread_local std::string_view last_kernel_name = "none";

// "q4_k amx exact", "bf16 sparse avx512 exact": made at compile time, so that naming what ran costs a call nothing.
template <block_format F, bool Sparse, isa Isa, compute Mode>
inline constexpr auto kernel_name = [] {
  std::array<char, 40> text{};
  std::size_t size = 0;
  for (const std::string_view part : {std::string_view(F::name), std::string_view(Sparse ? "sparse" : ""), std::string_view(name_of(Isa)),
                                      std::string_view(name_of(Mode))}) {
    if (part.empty()) continue;
    if (size != 0) text[size++] = ' ';
    for (const char c : part) text[size++] = c;
  }
  return text;
}();

// What gemm() multiplies by: a matrix of one format, or of one that is known at run time.
template <class W>
inline constexpr bool is_typed_weights = false;
template <block_format F>
inline constexpr bool is_typed_weights<packed_matrix<F>> = true;
template <sparse_format F>
inline constexpr bool is_typed_weights<sparse_matrix<F>> = true;

template <class W>
inline constexpr bool is_any_weights = std::is_same_v<W, any_packed_matrix> || std::is_same_v<W, any_sparse_matrix>;

template <class W>
inline constexpr bool is_sparse = false;
template <sparse_format F>
inline constexpr bool is_sparse<sparse_matrix<F>> = true;

// How A is held for a product with weights of a type: bf16 mode rounds it, the others quantize it for quantized weights.
inline a_kind a_kind_for(const char* type, bool quantized, compute mode) {
  if (mode == compute::bf16) return a_kind::bf16;
  if (mode == compute::requantized && !quantized)
    fail_argument(type, " weights have no ", name_of(mode), " mode: it is for quantized types");
  return quantized ? a_kind::int8 : a_kind::f32;
}
template <block_format F>
a_kind a_kind_for(compute mode) {
  return a_kind_for(F::name, quantized_format<F>, mode);
}

// auto_ may only choose among modes whose numerics the caller has agreed to; so far exact is never the worse choice by much.
constexpr compute resolve(compute mode) { return mode == compute::auto_ ? compute::exact : mode; }

// Few rows of A do not fill tiles: up to here a product runs the vector kernels. Tiles win early where integer scales and minima go into
// planes without a split of products, or weights are bytes with few scales, and late where vectors need no unpacking, as quants of 8 bits
// are bytes, or each group's sum takes a minimum along. Measured by benchmarks/cycles/cycles crossover, and a test holds it to that.
template <block_format F>
inline constexpr index_t vector_rows = 0;
template <integer_scales F>
inline constexpr index_t vector_rows<F> = traits<F>::has_min ? 4 : 8;
template <float_scales F>
inline constexpr index_t vector_rows<F> = traits<F>::has_min || traits<F>::bits == 8 ? 16 : 12;
template <byte_format F>
inline constexpr index_t vector_rows<F> = 1;

// Only in exact mode, where they compute the same bits: a result must not depend on M. Sparse bytes are expanded between the products of
// tiles, which then cost nothing.
template <block_format F, compute Mode, bool Sparse>
constexpr isa isa_for_rows(isa best, index_t M) {
  const bool few = M <= vector_rows<F> && !(Sparse && byte_format<F>);
  return best == isa::amx && Mode == compute::exact && few ? isa::avx512 : best;
}

// Activations made for requantized mode or while AMX was capped lack what tiles read in exact mode.
template <block_format F, compute Mode>
isa isa_for_parts(isa best, [[maybe_unused]] const activation_store& a) {
  if constexpr (quantized_format<F> && Mode == compute::exact)
    if (best == isa::amx && !a.has(tile_parts<F>)) return isa::avx512;
  return best;
}

// Expanding rows of a sparse panel takes VBMI2, GFNI and VPOPCNTDQ, which the first CPUs with AVX-512 lack.
template <bool Sparse>
isa isa_for_storage(isa best) {
  if constexpr (Sparse) {
    static const bool expands = cpu_report().has("avx512_vbmi2") && cpu_report().has("gfni") && cpu_report().has("avx512_vpopcntdq");
    if (best == isa::avx512 && !expands) return isa::avx2;
  }
  return best;
}

// Splits M x N into tasks: enough for many threads, but none so small that waking a thread costs more than it computes. Panels
// of one task stand side by side and in pairs: they share a block of A in cache, and pairs in tiles.
struct task_grid {
  index_t blocks, panels, block_tasks, panel_tasks;

  task_grid(index_t M, index_t N, index_t K, index_t most) : blocks((M + block_rows - 1) / block_rows), panels(panel_count(N)) {
    constexpr double macs_worth_a_task = 1 << 19;
    const double macs = static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K), worth = macs / macs_worth_a_task;
    const index_t wanted = worth >= static_cast<double>(most) ? most : worth <= 1 ? 1 : static_cast<index_t>(worth);
    panel_tasks = pairs() < wanted ? pairs() : wanted;
    const index_t pieces = (blocks + m_blocks - 1) / m_blocks, useful = (wanted + panel_tasks - 1) / panel_tasks;
    block_tasks = pieces < useful ? pieces : useful;
  }
  [[nodiscard]] index_t size() const { return block_tasks * panel_tasks; }
  [[nodiscard]] task_range operator[](index_t i) const {
    const index_t b = i % block_tasks, p = i / block_tasks;
    const index_t first = 2 * (pairs() * p / panel_tasks), last = 2 * (pairs() * (p + 1) / panel_tasks);
    return {blocks * b / block_tasks, blocks * (b + 1) / block_tasks, first, last < panels ? last : panels};
  }

 private:
  [[nodiscard]] index_t pairs() const { return (panels + 1) / 2; }
};

}  // namespace detail

// Which kernel the last gemm() of this thread ran, for example "q4_k amx exact"; "none" before the first that had anything to do.
inline std::string_view last_kernel() noexcept { return detail::last_kernel_name; }

// What activations are made for: a packed or sparse matrix, or several of the same K as {wq, wk, wv}. Only their types and K count, and
// only while activations are constructed from it. Throws std::invalid_argument if the Ks differ.
class weight_types {
 public:
  template <class... W>
    requires(sizeof...(W) > 0 && ((detail::is_typed_weights<W> || detail::is_any_weights<W>) && ...))
  weight_types(const W&... w) {
    (add(w), ...);
  }

  [[nodiscard]] index_t cols() const noexcept { return cols_; }
  // How A is held for all of them, and which parts it has. Throws std::invalid_argument if there is no such form.
  [[nodiscard]] detail::a_kind kind(compute mode) const {
    if (float_name_ == nullptr) return detail::a_kind_for(quantized_name_, true, mode);
    const detail::a_kind kind = detail::a_kind_for(float_name_, false, mode);
    if (quantized_name_ != nullptr && kind != detail::a_kind_for(quantized_name_, true, mode))
      detail::fail_argument("no form of activations serves ", float_name_, " and ", quantized_name_, " weights in ", name_of(mode),
                            " mode");
    return kind;
  }
  [[nodiscard]] detail::a_parts parts(compute mode) const {
    return mode == compute::exact && supported(isa::amx) ? vector_parts_ | tile_parts_ : vector_parts_;
  }

 private:
  template <class W>
    requires detail::is_typed_weights<W>
  void add(const W& w) {
    using F = typename W::format;
    if (cols_ >= 0 && cols_ != w.cols()) detail::fail_argument("activations for weights of K = ", cols_, " and of K = ", w.cols());
    cols_ = w.cols();
    if constexpr (quantized_format<F>) {
      quantized_name_ = F::name;
      vector_parts_ |= detail::vector_parts<F>;
      tile_parts_ |= detail::tile_parts<F>;
    } else {
      float_name_ = F::name;
    }
  }
  template <class W>
    requires detail::is_any_weights<W>
  void add(const W& w) {
    w.visit([&](const auto& typed) { add(typed); });
  }

  index_t cols_ = -1;
  const char *float_name_ = nullptr, *quantized_name_ = nullptr;
  detail::a_parts vector_parts_ = 0, tile_parts_ = 0;
};

// A[M, K] in the form that the kernels read, made once and used for any number of products with weights of the same K: int8 (quantized
// types, exact and requantized mode), bf16 (any type, bf16 mode) or f32 (f32, f16 and bf16 weights, exact mode). int8 has only the sums
// that the types read which it was made for; a product with another one that reads more is an error. Made for exact mode where AMX may
// run (`supported`), it also has what tiles read, for Q4_0, Q4_1 and Q8_0 another 2 bytes an element; where it lacks that, AVX-512 runs
// even if AMX is allowed, with the same bits, and last_kernel() says so.
class quantized_activations {
 public:
  // Room for M rows, which assign() must fill before a product reads them.
  quantized_activations(index_t M, const weight_types& w, compute mode = compute::exact)
      : mode_(detail::resolve(mode)), store_(w.kind(mode_), checked_rows(M), w.cols(), w.parts(mode_)) {}

  // Allocates and fills in one go.
  template <class T, class Executor = serial_executor>
    requires whole_executor<Executor>
  quantized_activations(matrix_view<T> a, const weight_types& w, Executor&& executor = {}, gemm_options options = {})
      : quantized_activations(a.rows(), w, options.compute.value_or(compute::exact)) {
    assign(a, executor, options);
  }

  // Fills it from A[M, K], a task for every 16 rows. Workers that run as (ith, nth) each call it with their share and then wait
  // for each other. Throws std::invalid_argument for another shape than it was made for.
  template <class T, class Executor = serial_executor>
    requires executor<Executor>
  void assign(matrix_view<T> a, Executor&& executor = {}, gemm_options options = {}) {
    using value = std::remove_const_t<T>;
    static_assert(detail::element<value>, "A holds float, f16 or bf16");
    if (a.rows() != rows() || a.cols() != cols())
      detail::fail_argument("A is ", a.rows(), " x ", a.cols(), ", the activations were made for ", rows(), " x ", cols());
    const matrix_view<const value> source(a.row(0), a.rows(), a.cols(), a.stride());
    detail::with_kernels(detail::resolve_isa(options.isa), [&](auto kernels) {
      executor.parallel_for(store_.blocks(),
                            [&](index_t i) { kernels.prepare(source, i * detail::block_rows, store_.kind(), store_.block(i)); });
    });
  }

  [[nodiscard]] index_t rows() const noexcept { return store_.rows(); }
  [[nodiscard]] index_t cols() const noexcept { return store_.cols(); }
  [[nodiscard]] tegula::compute mode() const noexcept { return mode_; }
  [[nodiscard]] const detail::activation_store& store() const noexcept { return store_; }

 private:
  static index_t checked_rows(index_t M) {
    if (M < 0 || M > detail::max_extent) detail::fail_argument("activations of ", M, " rows: must be 0 .. ", detail::max_extent);
    return M;
  }

  tegula::compute mode_;
  detail::activation_store store_;
};

namespace detail {

// For a matrix_view as well as for quantized_activations.
template <class A, class W, class T>
void check_shapes(const A& a, const W& w, const matrix_view<T>& c) {
  if (a.cols() != w.cols()) fail_argument("A has K = ", a.cols(), ", W has K = ", w.cols());
  if (c.rows() != a.rows() || c.cols() != w.rows())
    fail_argument("C is ", c.rows(), " x ", c.cols(), ", the product of A and W is ", a.rows(), " x ", w.rows());
}

// The mode of a product: the one asked for, if these activations have the form that it needs with F; else the one that they were
// made for.
template <block_format F>
compute mode_for(const quantized_activations& a, const gemm_options& options) {
  const compute mode = options.compute ? resolve(*options.compute) : a.mode();
  constexpr const char* how = ": make them with quantized_activations(a, w) for these weights and this mode";
  if (const a_kind needed = a_kind_for<F>(mode); needed != a.store().kind())
    fail_argument(F::name, " weights in ", name_of(mode), " mode need activations as ", a_kind_name(needed), ", these, made for ",
                  name_of(a.mode()), " mode, are held as ", a_kind_name(a.store().kind()), how);
  if constexpr (quantized_format<F>)
    if (mode != compute::bf16 && !a.store().has(vector_parts<F>))
      fail_argument("activations made for other types lack what ", F::name, " weights need", how,
                    "; for several types at once, {w, w2, ..}");
  return mode;
}

template <compute Mode, class W, class T, class Epilogue, class Executor>
void run_product(const quantized_activations& a, const W& w, matrix_view<T> c, const Epilogue& epilogue, Executor& executor,
                 const gemm_options& options) {
  using F = typename W::format;
  constexpr bool sparse = is_sparse<W>;
  const isa best = resolve_isa(options.isa), for_rows = options.isa ? best : isa_for_rows<F, Mode, sparse>(best, a.rows());
  with_kernels(isa_for_storage<sparse>(isa_for_parts<F, Mode>(for_rows, a.store())), [&](auto kernels) {
    if (c.rows() == 0 || c.cols() == 0) return;
    last_kernel_name = kernel_name<F, sparse, decltype(kernels)::template runs<F, Mode>, Mode>.data();
    const task_grid grid(c.rows(), c.cols(), w.cols(), max_tasks(executor));
    executor.parallel_for(grid.size(),
                          [&](index_t i) { kernels.template run<F, Mode, sparse>(a.store(), grid[i], w.panels(), c, epilogue); });
  });
}

template <class A>
struct is_activations : std::is_same<A, quantized_activations> {};
template <class T>
struct is_activations<matrix_view<T>> : std::bool_constant<element<std::remove_const_t<T>>> {};

template <class A, class W, class T>
concept product = is_activations<A>::value && (is_typed_weights<W> || is_any_weights<W>) && element<T>;

// A matrix is quantized within the call, so all of it must be done when the product starts.
template <class E, class A>
concept executor_for = executor<E> && (std::same_as<A, quantized_activations> || whole_executor<E>);

}  // namespace detail

// C[M, N] = epilogue(A[M, K] * W[N, K]^T).
//
// a         matrix_view of float, f16 or bf16, whose rows may have a stride; or quantized_activations: then nothing is allocated
// w         packed_matrix<F>, any_packed_matrix, sparse_matrix<F>, any_sparse_matrix, or what storage.hpp has for both
// c         matrix_view of float, f16 or bf16; must not overlap A
// epilogue  (float value, index_t m, index_t n) -> float, called once for every element, from the executor's threads. It may read the
//           element of C that it is about to replace (a residual). The value it gets has the same bits everywhere; its own arithmetic is
//           the compiler's, which may fuse a * b + c where the ISA can
// executor  runs the tasks; the result does not depend on it
// options   isa: the best by default; compute: exact by default, or what the activations were made for. Activations made for exact
//           serve requantized as well, and the other way round
//
// Epilogue, executor and options may each be left out, in this order. M = 0 or N = 0 touches nothing; K = 0 gives epilogue(0).
// Throws std::invalid_argument for shapes that do not fit, an ISA that cannot run here, or activations of another form; nothing
// is written then. With executor share(ith, nth), A must be quantized_activations: each worker has only a part of the work.
template <class W, class T, epilogue Epilogue, class Executor>
  requires detail::product<quantized_activations, W, T> && executor<Executor>
void gemm(const quantized_activations& a, const W& w, matrix_view<T> c, const Epilogue& epilogue, Executor&& executor,
          gemm_options options = {}) {
  if constexpr (detail::is_any_weights<W>) {
    w.visit([&](const auto& typed) { gemm(a, typed, c, epilogue, executor, options); });
  } else {
    using format = typename W::format;
    detail::check_shapes(a, w, c);
    const compute mode = detail::mode_for<format>(a, options);
    if (mode == compute::bf16) return detail::run_product<compute::bf16>(a, w, c, epilogue, executor, options);
    if constexpr (quantized_format<format>)
      if (mode == compute::requantized) return detail::run_product<compute::requantized>(a, w, c, epilogue, executor, options);
    detail::run_product<compute::exact>(a, w, c, epilogue, executor, options);
  }
}

template <class A, class W, class T, epilogue Epilogue, class Executor>
  requires detail::product<matrix_view<A>, W, T> && whole_executor<Executor>
void gemm(matrix_view<A> a, const W& w, matrix_view<T> c, const Epilogue& epilogue, Executor&& executor, gemm_options options = {}) {
  detail::check_shapes(a, w, c);
  gemm(quantized_activations(a, w, executor, options), w, c, epilogue, executor, options);
}

template <class A, class W, class T, epilogue Epilogue>
  requires detail::product<A, W, T>
void gemm(const A& a, const W& w, matrix_view<T> c, const Epilogue& epilogue, gemm_options options = {}) {
  gemm(a, w, c, epilogue, serial_executor{}, options);
}

template <class A, class W, class T, class Executor>
  requires detail::product<A, W, T> && detail::executor_for<Executor, A>
void gemm(const A& a, const W& w, matrix_view<T> c, Executor&& executor, gemm_options options = {}) {
  gemm(a, w, c, identity_epilogue{}, executor, options);
}

template <class A, class W, class T>
  requires detail::product<A, W, T>
void gemm(const A& a, const W& w, matrix_view<T> c, gemm_options options = {}) {
  gemm(a, w, c, identity_epilogue{}, serial_executor{}, options);
}

namespace detail {

// Calls function(kernels, first, count) for pieces of `count` weights, tasks of the executor. `what`: the caller, for errors.
template <block_format F, class Executor, class Function>
void for_each_piece(const char* what, const void* blocks, const float* floats, index_t count, Executor& executor,
                    const gemm_options& options, Function function) {
  if (count > 0 && (blocks == nullptr || floats == nullptr)) fail_argument(what, " ", count, " weights of ", F::name, " without data");
  if (count < 0 || count % traits<F>::block_k != 0)
    fail_argument(what, " ", count, " weights of ", F::name, ": must be a multiple of the block, ", traits<F>::block_k);
  constexpr index_t piece = 1 << 14;
  with_kernels(resolve_isa(options.isa), [&](auto kernels) {
    executor.parallel_for((count + piece - 1) / piece, [&](index_t i) {
      const index_t first = i * piece, rest = count - first;
      function(kernels, first, rest < piece ? rest : piece);
    });
  });
}

}  // namespace detail

// Blocks of F, as they lie in a GGUF file (any alignment), to `count` floats, the same bits on every ISA. The executor may be left
// out; it gets a task for every 16,384 weights. Of options only isa counts. Throws std::invalid_argument for a count that is no multiple
// of the block.
template <block_format F, executor Executor>
void dequantize(const void* blocks, float* out, index_t count, Executor&& executor, gemm_options options = {}) {
  const auto* source = static_cast<const std::byte*>(blocks);
  detail::for_each_piece<F>("dequantize", blocks, out, count, executor, options, [&](auto kernels, index_t first, index_t n) {
    kernels.template dequantize<F>(source + source_row_bytes<F>(first), out + first, n);
  });
}
template <block_format F>
void dequantize(const void* blocks, float* out, index_t count, gemm_options options = {}) {
  dequantize<F>(blocks, out, count, serial_executor{}, options);
}
template <executor Executor>
void dequantize(type_id type, const void* blocks, float* out, index_t count, Executor&& executor, gemm_options options = {}) {
  visit(type, [&](auto format) { dequantize<decltype(format)>(blocks, out, count, executor, options); });
}
inline void dequantize(type_id type, const void* blocks, float* out, index_t count, gemm_options options = {}) {
  dequantize(type, blocks, out, count, serial_executor{}, options);
}

// `count` floats to blocks of F, a byte_format: per 256, in f32, d = max * (1 / 127) and q = rint(x * (127 / max)), to nearest, ties to
// even, -127 .. 127. A block whose max is below 2^-72 becomes zeros; one with an Inf or NaN gets d = NaN and zeros. The same bits on every
// ISA; executor, options and errors as for dequantize.
template <byte_format F, executor Executor>
void quantize(const float* weights, void* blocks, index_t count, Executor&& executor, gemm_options options = {}) {
  auto* target = static_cast<std::byte*>(blocks);
  detail::for_each_piece<F>("quantize", blocks, weights, count, executor, options, [&](auto kernels, index_t first, index_t n) {
    kernels.template quantize<F>(weights + first, target + source_row_bytes<F>(first), n);
  });
}
template <byte_format F>
void quantize(const float* weights, void* blocks, index_t count, gemm_options options = {}) {
  quantize<F>(weights, blocks, count, serial_executor{}, options);
}

}  // namespace tegula::inline TEGULA_ABI
