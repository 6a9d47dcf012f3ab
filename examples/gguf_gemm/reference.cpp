// The sampled double reference; see reference.hpp.
#include "reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace gguf_gemm {
namespace {

// Weights are dequantized this many at a time: a multiple of every block, and small for any K.
constexpr tg::index_t chunk = 4096;

// Far enough below float's largest number that no partial sum of a float kernel overflows.
constexpr double largest_magnitude = 1e30;

constexpr tg::index_t max_columns = 16, max_rows = 4;

// One element of C, summed in double.
struct dot_product {
  double sum = 0, magnitude = 0, a_norm = 0, w_norm = 0;  // norms: sums of squares

  void add(const float* a, const float* w, tg::index_t count) {
    for (tg::index_t k = 0; k < count; ++k) {
      const double a_k = static_cast<double>(a[k]), w_k = static_cast<double>(w[k]);
      sum += a_k * w_k;
      magnitude += std::abs(a_k * w_k);
      a_norm += a_k * a_k;
      w_norm += w_k * w_k;
    }
  }

  sampled_error compare(float c, tg::index_t K) const {
    if (!(magnitude < largest_magnitude)) return {};  // NaN is not less, either
    const double difference = static_cast<double>(c) - sum;
    const double power = a_norm * w_norm / static_cast<double>(K);
    if (!std::isfinite(difference)) return {std::numeric_limits<double>::infinity(), power};
    return {difference * difference, power};
  }
};

// `count` different indices below `size`, or fewer, the first and the last among them.
std::vector<tg::index_t> draw(tg::index_t size, tg::index_t count, std::mt19937_64& random) {
  std::vector<tg::index_t> chosen;
  if (size <= count) {
    for (tg::index_t i = 0; i < size; ++i) chosen.push_back(i);
    return chosen;
  }
  chosen = {0, size - 1};
  std::uniform_int_distribution<tg::index_t> index(1, size - 2);
  while (static_cast<tg::index_t>(chosen.size()) < count) chosen.push_back(index(random));
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

// Returns where the next weights start. The scalar ISA is the plainest of all: it decodes block by block as a format says.
const std::byte* dequantize(tg::type_id type, const std::byte* blocks, float* out, tg::index_t count) {
  return tg::visit(type, [&](auto format) {
    using format_type = decltype(format);
    tg::dequantize<format_type>(blocks, out, count, {.isa = tg::isa::scalar});
    return blocks + tg::source_row_bytes<format_type>(count);
  });
}

}  // namespace

double sampled_error::nmse() const {
  if (difference == 0) return 0;
  return power > 0 ? difference / power : std::numeric_limits<double>::infinity();
}

sampled_error compare(const source_matrix& w, std::span<const float> a, tg::matrix_view<const float> c, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::vector<tg::index_t> columns = draw(w.N, max_columns, random);
  const std::vector<tg::index_t> rows = draw(c.rows(), max_rows, random);

  sampled_error error;
  std::vector<float> weights(static_cast<std::size_t>(std::min(chunk, w.K)));
  for (const tg::index_t n : columns) {
    std::vector<dot_product> dots(rows.size());
    const std::byte* blocks = w.blocks + static_cast<std::uint64_t>(n) * w.row_bytes;
    for (tg::index_t k = 0; k < w.K; k += chunk) {
      const tg::index_t count = std::min(chunk, w.K - k);
      blocks = dequantize(w.type, blocks, weights.data(), count);
      for (std::size_t i = 0; i < rows.size(); ++i) dots[i].add(a.data() + rows[i] * w.K + k, weights.data(), count);
    }
    for (std::size_t i = 0; i < rows.size(); ++i) error.add(dots[i].compare(c.row(rows[i])[n], w.K));
  }
  return error;
}

}  // namespace gguf_gemm
