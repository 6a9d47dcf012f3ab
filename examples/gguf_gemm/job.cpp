// The job on one tensor; see job.hpp.
#include "job.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>

#include "multiply.hpp"

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

std::uint64_t packed_bytes(const source_matrix& w) {
  return tg::visit(w.type, [&](auto format) {
    return static_cast<std::uint64_t>(tg::packed_matrix<decltype(format)>::packed_bytes({.N = w.N, .K = w.K}));
  });
}

// Bytes for the packed matrix, A as floats, a block of its rows as tegula quantizes it (at most as many again), and C.
std::uint64_t memory_needed(const source_matrix& w, tg::index_t max_M) {
  const auto M = static_cast<std::uint64_t>(max_M), N = static_cast<std::uint64_t>(w.N), K = static_cast<std::uint64_t>(w.K);
  const auto block = static_cast<std::uint64_t>(rows_at_once(max_M, w.N));
  return packed_bytes(w) + sizeof(float) * (M * K + block * K + block * N);
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

}  // namespace

verdict judge(const gguf::tensor& t, tg::compute mode) {
  if (t.n_dims < 2) return verdict::vector;
  if (t.dims[2] != 1 || t.dims[3] != 1) return verdict::stack;
  const tg::type_id type{t.type};
  if (!tg::supported(type)) return verdict::unsupported;
  const bool quantized = tg::visit(type, [](auto format) { return tg::quant_format<decltype(format)>; });
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

// Repeats the product until it has run for min_seconds in total, at least once.
double job::fastest(tg::matrix_view<const float> a, const tg::any_packed_matrix& packed, tg::matrix_view<float> c) {
  double total = 0, best = std::numeric_limits<double>::infinity();
  do {
    const double start = seconds_now();
    multiply(a, packed, c, pool_, {.isa = options_.isa, .compute = options_.compute});
    const double seconds = seconds_now() - start;
    total += seconds;
    best = std::min(best, seconds);
  } while (total < options_.min_seconds);
  return best;
}

product job::measure(const source_matrix& w, const tg::any_packed_matrix& packed, tg::index_t M) {
  product result;
  result.M = M;
  const std::span<const float> a = activations_.first(static_cast<std::size_t>(M * w.K));
  const tg::index_t block = rows_at_once(M, w.N);
  // Not zeros: an element that no kernel wrote must show.
  std::vector<float> c(static_cast<std::size_t>(block * w.N), std::numeric_limits<float>::quiet_NaN());
  sampled_error error;
  for (tg::index_t m = 0; m < M; m += block) {
    const tg::index_t rows = std::min(block, M - m);
    const std::span<const float> a_rows = a.subspan(static_cast<std::size_t>(m * w.K), static_cast<std::size_t>(rows * w.K));
    result.seconds += fastest({a_rows.data(), rows, w.K}, packed, {c.data(), rows, w.N});
    error.add(compare(w, a_rows, {c.data(), rows, w.N}, options_.seed));
  }
  result.kernel = tg::last_kernel();
  result.nmse = error.nmse();
  return result;
}

outcome job::run(const gguf::tensor& t) {
  outcome result;
  result.tensor = &t;
  result.judged = judge(t, options_.compute);
  if (result.judged != verdict::multiply) return result;

  const source_matrix w = source_of(file_, t);
  const tg::index_t max_M = *std::max_element(options_.rows.begin(), options_.rows.end());
  result.memory = memory_needed(w, max_M);
  result.too_large = result.memory > memory_limit(options_, file_.size());
  if (result.too_large) return result;

  const double start = seconds_now();
  const tg::any_packed_matrix packed = pack_streamed(file_, t, w, pool_);
  result.pack_seconds = seconds_now() - start;
  result.packed_bytes = packed.bytes();
  for (const tg::index_t M : options_.rows) result.products.push_back(measure(w, packed, M));
  file_.drop_pages(t, 0, t.bytes);  // the reference has read some again
  return result;
}

}  // namespace gguf_gemm
