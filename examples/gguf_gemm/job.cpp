// The job on one tensor; see job.hpp.
#include "job.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <limits>
#include <random>

#include "multiply.hpp"
#include "program/load_sparse.hpp"
#include "program/types.hpp"

namespace gguf_gemm {
namespace {

// The file's pages are packed and dropped this many bytes at a time.
constexpr std::uint64_t stream_bytes = std::uint64_t{4} << 20;

// Tasks of packing take whole panels of 16 rows, and a few of them, to outweigh starting a task.
constexpr tg::index_t rows_per_task = 64;

// C is computed in blocks of rows that take at most this many bytes: 512 rows of a vocabulary of 262,144 would take more
// memory than the model.
constexpr std::uint64_t result_bytes = std::uint64_t{128} << 20;

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

source_matrix source_of(const gguf::file& file, const gguf::tensor& t) {
  return {tg::type_id{t.type}, file.data(t), t.bytes / t.dims[1], static_cast<tg::index_t>(t.dims[1]), static_cast<tg::index_t>(t.dims[0])};
}

tg::index_t rows_at_once(tg::index_t M, tg::index_t N) {
  const auto fit = static_cast<tg::index_t>(result_bytes / (sizeof(float) * static_cast<std::uint64_t>(N)));
  return std::clamp<tg::index_t>(fit, std::min<tg::index_t>(M, 1), M);
}

std::uint64_t packed_bytes(tg::type_id type, tg::weight_shape shape) {
  return tg::visit(type, [&](auto format) { return static_cast<std::uint64_t>(tg::packed_matrix<decltype(format)>::packed_bytes(shape)); });
}

bool can_compress(tg::type_id type) { return type == tg::f32::id || program::contains(tg::sparse_formats{}, type); }

// Bytes for the packed matrix, A as floats, a block of its rows as tegula quantizes it (at most as many again), and C. With a sparse form:
// for that (a bit a weight more than packed, if it has no zeros: at most a quarter), a second C, and the weights as they are in a file.
std::uint64_t memory_needed(const gguf::tensor& t, tg::index_t max_M, bool sparse) {
  const auto M = static_cast<std::uint64_t>(max_M), N = t.dims[1], K = t.dims[0];
  const tg::weight_shape shape{.N = static_cast<tg::index_t>(N), .K = static_cast<tg::index_t>(K)};
  const std::uint64_t packed = packed_bytes(tg::type_id{t.type}, shape), C = static_cast<std::uint64_t>(rows_at_once(max_M, shape.N)) * N;
  const std::uint64_t dense = packed + sizeof(float) * (M * K + C / N * K + C);
  return sparse ? dense + packed + packed / 4 + sizeof(float) * C + t.bytes : dense;
}

// Packs in file order, dropping the file's pages on the way: at no time is there a second copy of the weights.
tg::any_packed_matrix pack_streamed(const gguf::file& file, const gguf::tensor& t, const source_matrix& w, tg::thread_pool& pool) {
  tg::any_packed_matrix packed = tg::empty_packed_matrix(w.type, {.N = w.N, .K = w.K});
  const auto fit = static_cast<tg::index_t>(stream_bytes / w.row_bytes);
  const tg::index_t step = std::max<tg::index_t>(fit / rows_per_task, 1) * rows_per_task;
  for (tg::index_t first = 0; first < w.N; first += step) {
    const tg::index_t count = std::min(step, w.N - first);
    pool.parallel_for((count + rows_per_task - 1) / rows_per_task, [&](tg::index_t task) {
      const tg::index_t row = first + task * rows_per_task;
      const tg::row_range rows{row, std::min(rows_per_task, first + count - row)};
      tg::pack_rows(packed, w.blocks + static_cast<std::uint64_t>(row) * w.row_bytes, rows);
    });
    file.drop_pages(t, static_cast<std::uint64_t>(first) * w.row_bytes, static_cast<std::uint64_t>(count) * w.row_bytes);
  }
  return packed;
}

// One form of the weights, on its way through the rows of A.
struct contestant {
  contestant(const multiplier& run, std::size_t elements) : multiply(&run), c(elements, std::numeric_limits<float>::quiet_NaN()) {}

  const multiplier* multiply;
  std::vector<float> c;  // not zeros at first: an element that no kernel wrote must show
  std::string kernel;
  double seconds = 0;  // sum of the fastest runs
};

// Repeats the product of each form, one form after the other, until each has run for min_seconds, at least once.
void time_in_turn(tg::matrix_view<const float> a, tg::index_t N, std::span<contestant> contestants, double min_seconds) {
  std::vector<double> best(contestants.size(), std::numeric_limits<double>::infinity());
  double total = 0;
  do {
    for (std::size_t i = 0; i < contestants.size(); ++i) {
      const double start = seconds_now();
      (*contestants[i].multiply)(a, {contestants[i].c.data(), a.rows(), N});
      const double seconds = seconds_now() - start;
      contestants[i].kernel = tg::last_kernel();
      total += seconds;
      best[i] = std::min(best[i], seconds);
    }
  } while (total < min_seconds * static_cast<double>(contestants.size()));
  for (std::size_t i = 0; i < contestants.size(); ++i) contestants[i].seconds += best[i];
}

}  // namespace

verdict judge(const entry& e, tg::compute mode) {
  const gguf::tensor& t = e.tensor;
  if (t.n_dims < 2) return verdict::vector;
  if (t.dims[2] != 1 || t.dims[3] != 1) return verdict::stack;
  const tg::type_id type{t.type};
  // A number of tegula's own is a type in a sparse matrix only.
  if (!tg::supported(type) || (!e.sparse && gguf::find_type(t.type) == nullptr)) return verdict::unsupported;
  const bool quantized = tg::visit(type, [](auto format) { return tg::quantized_format<decltype(format)>; });
  return quantized || mode != tg::compute::requantized ? verdict::multiply : verdict::no_mode;
}

const char* describe(verdict v) {
  switch (v) {
    case verdict::multiply: return "matrix";
    case verdict::vector: return "vector, not multiplied";
    case verdict::stack: return "more than two dimensions, not multiplied";
    case verdict::unsupported: return "type not supported, not multiplied";
    case verdict::no_mode: return "no requantized mode, not multiplied";
  }
  return "";
}

double gflops(const gguf::tensor& t, const product& p) {
  return 2e-9 * static_cast<double>(p.M) * static_cast<double>(t.dims[0]) * static_cast<double>(t.dims[1]) / p.seconds;
}

double speed_up(const product& p) { return p.seconds / p.sparse->seconds; }

double weight_gbps(const gguf::tensor& t, const product& p) { return 1e-9 * static_cast<double>(t.bytes) / p.seconds; }

std::span<const float> activations::first(std::size_t count) {
  if (values_.size() < count) {
    std::mt19937_64 random(seed_);
    std::normal_distribution<float> normal;
    values_.resize(count);
    std::generate(values_.begin(), values_.end(), [&] { return normal(random); });
  }
  return {values_.data(), count};
}

job::job(const gguf::file& file, const options& options)
    : file_(file), options_(options), pool_(options.threads), activations_(options.seed) {}

template <class Matrix>
multiplier job::multiplier_of(const Matrix& w) {
  return [this, &w](tg::matrix_view<const float> a, tg::matrix_view<float> c) {
    multiply(a, w, c, pool_, {.isa = options_.isa, .compute = options_.compute});
  };
}

void job::measure_all(const source_matrix& w, std::span<const multiplier> forms, outcome& result) {
  for (const tg::index_t M : options_.rows) result.products.push_back(measure(w, forms, M));
}

product job::measure(const source_matrix& w, std::span<const multiplier> forms, tg::index_t M) {
  const std::span<const float> a = activations_.first(static_cast<std::size_t>(M * w.K));
  const tg::index_t block = rows_at_once(M, w.N);
  std::vector<contestant> contestants;
  for (const multiplier& form : forms) contestants.emplace_back(form, static_cast<std::size_t>(block * w.N));
  bool same_bits = true;
  sampled_error error;
  for (tg::index_t m = 0; m < M; m += block) {
    const tg::index_t rows = std::min(block, M - m);
    const std::span<const float> a_rows = a.subspan(static_cast<std::size_t>(m * w.K), static_cast<std::size_t>(rows * w.K));
    time_in_turn({a_rows.data(), rows, w.K}, w.N, contestants, options_.min_seconds);
    error.add(compare(w, a_rows, {contestants[0].c.data(), rows, w.N}, options_.seed));
    const std::size_t bytes = static_cast<std::size_t>(rows * w.N) * sizeof(float);
    same_bits = same_bits && std::memcmp(contestants[0].c.data(), contestants.back().c.data(), bytes) == 0;
  }
  product result{M, contestants[0].kernel, contestants[0].seconds, error.nmse(), std::nullopt};
  if (contestants.size() > 1) result.sparse = {contestants[1].kernel, contestants[1].seconds, same_bits};
  return result;
}

void job::run_dense(const gguf::tensor& t, outcome& result) {
  const double start = seconds_now();
  const tg::any_packed_matrix packed = pack_streamed(file_, t, source_of(file_, t), pool_);
  result.pack_seconds = seconds_now() - start;
  result.packed_bytes = packed.bytes();
  measure_all(source_of(file_, t), std::array{multiplier_of(packed)}, result);
}

// Both forms hold the weights that the sparse one has: F32 weights became BF16.
void job::run_sparse(const entry& e, outcome& result) {
  const gguf::tensor& t = e.tensor;
  const tg::weight_shape shape{.N = static_cast<tg::index_t>(t.dims[1]), .K = static_cast<tg::index_t>(t.dims[0])};
  const tg::any_sparse_matrix sparse =
      e.sparse ? program::load_sparse(file_, *e.sparse) : tg::compress(tg::type_id{t.type}, file_.data(t), shape, pool_);
  result.sparse = {sparse.density(), sparse.bytes()};

  const std::uint64_t row_bytes = program::row_bytes(sparse.type(), t.dims[0]);
  std::vector<std::byte> rows(static_cast<std::size_t>(row_bytes * t.dims[1]));
  tg::decompress(sparse, rows.data(), pool_);
  const double start = seconds_now();
  const tg::any_packed_matrix packed = tg::pack(sparse.type(), rows.data(), shape, pool_);
  result.pack_seconds = seconds_now() - start;
  result.packed_bytes = packed.bytes();
  measure_all({sparse.type(), rows.data(), row_bytes, shape.N, shape.K}, std::array{multiplier_of(packed), multiplier_of(sparse)}, result);
}

outcome job::run(const entry& e) {
  const gguf::tensor& t = e.tensor;
  outcome result;
  result.tensor = &t;
  result.judged = judge(e, options_.compute);
  if (result.judged != verdict::multiply) return result;

  const bool sparse = e.sparse || (options_.sparse && can_compress(tg::type_id{t.type}));
  const tg::index_t max_M = *std::max_element(options_.rows.begin(), options_.rows.end());
  result.memory = memory_needed(t, max_M, sparse);
  result.too_large = result.memory > memory_limit(options_, file_.size());
  if (result.too_large) return result;
  sparse ? run_sparse(e, result) : run_dense(t, result);
  file_.drop_pages(t, 0, e.sparse ? e.sparse->stored->bytes : t.bytes);  // the reference has read some again
  return result;
}

}  // namespace gguf_gemm
