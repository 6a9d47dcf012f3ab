// See prune.hpp.
#include "prune.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "program/types.hpp"
#include "quantize.hpp"

namespace gguf_prune {
namespace {

// Rows are together in memory up to about this many weights, at 9 bytes each and those that are read and written.
constexpr std::size_t weights_at_once = std::size_t{1} << 20;

double square(float x) { return static_cast<double>(x) * static_cast<double>(x); }

// The sums of some weights that became others.
outcome compare(std::span<const float> before, std::span<const float> after, std::span<const std::uint8_t> pruned) {
  outcome sum;
  sum.weights = before.size();
  for (std::size_t k = 0; k < before.size(); ++k) {
    sum.pruned += pruned[k];
    sum.zeros += after[k] == 0;
    sum.energy += square(before[k]);
    if (pruned[k]) sum.pruned_energy += square(before[k]);
    sum.changed_energy += square(before[k] - after[k]);
  }
  return sum;
}

class pruner {
 public:
  pruner(const gguf::file& file, const plan& p, const method& how, std::span<const float> norms, tg::thread_pool& pool);
  outcome run(const byte_sink& take);

 private:
  // Calls function() for all rows, as many at a time as the buffers hold: rows_ from first_, read and scored.
  template <class Function>
  void for_each_chunk(Function function);
  template <class Function>
  void for_each_row(Function function) {
    pool_.parallel_for(static_cast<tg::index_t>(rows_), [&](tg::index_t row) { function(static_cast<std::size_t>(row)); });
  }

  void read(std::size_t row);
  cut cut_of_tensor();
  void mark_all(cut& left);
  void encode(std::size_t row);
  void check_finite(const char* problem) const;

  const std::byte* source(std::size_t row) const { return file_.data(tensor_) + (first_ + row) * source_bytes_; }
  std::byte* encoded(std::size_t row) { return encoded_.data() + row * stored_bytes_; }
  template <class T>
  std::span<T> row_of(std::vector<T>& all, std::size_t row) const {
    return std::span(all).subspan(row * K_, K_);
  }

  const gguf::file& file_;
  const gguf::tensor& tensor_;
  const method& how_;
  std::span<const float> norms_;
  tg::thread_pool& pool_;
  tg::type_id source_type_, stored_type_;
  std::size_t N_, K_, source_bytes_, stored_bytes_;  // bytes: of a row
  std::size_t first_ = 0, rows_ = 0, most_rows_;

  // Of the rows at hand.
  std::vector<float> weights_;
  std::vector<score> scores_;
  std::vector<std::uint8_t> pruned_, finite_;
  std::vector<std::byte> encoded_;
  std::vector<outcome> sums_;
};

pruner::pruner(const gguf::file& file, const plan& p, const method& how, std::span<const float> norms, tg::thread_pool& pool)
    : file_(file),
      tensor_(*p.tensor),
      how_(how),
      norms_(norms),
      pool_(pool),
      source_type_(p.tensor->type),
      stored_type_(p.stored),
      N_(static_cast<std::size_t>(p.tensor->dims[1])),
      K_(static_cast<std::size_t>(p.tensor->dims[0])),
      source_bytes_(program::row_bytes(source_type_, K_)),
      stored_bytes_(program::row_bytes(stored_type_, K_)),
      most_rows_(std::clamp<std::size_t>(weights_at_once / K_, 1, N_)),
      weights_(most_rows_ * K_),
      scores_(most_rows_ * K_),
      pruned_(most_rows_ * K_),
      finite_(most_rows_),
      encoded_(most_rows_ * stored_bytes_),
      sums_(most_rows_) {}

template <class Function>
void pruner::for_each_chunk(Function function) {
  for (first_ = 0; first_ < N_; first_ += most_rows_) {
    rows_ = std::min(most_rows_, N_ - first_);
    for_each_row([&](std::size_t row) { read(row); });
    check_finite("is not finite");
    function();
    file_.drop_pages(tensor_, first_ * source_bytes_, rows_ * source_bytes_);
  }
}

void pruner::read(std::size_t row) {
  const std::span<float> weights = row_of(weights_, row);
  tg::dequantize(source_type_, source(row), weights.data(), static_cast<tg::index_t>(K_));
  score_weights(weights, norms_, row_of(scores_, row));
  finite_[row] = std::all_of(weights.begin(), weights.end(), [](float w) { return std::isfinite(w); });
}

void pruner::check_finite(const char* problem) const {
  for (std::size_t row = 0; row < rows_; ++row) {
    if (!finite_[row]) {
      throw std::runtime_error(gguf::printable(tensor_.name) + ": a weight of row " + std::to_string(first_ + row) + ' ' + problem);
    }
  }
}

cut pruner::cut_of_tensor() {
  streamed_cut whole(how_.count(std::uint64_t{N_} * K_));
  for (int pass = 0; pass < 2; ++pass) {
    for_each_chunk([&] { whole.add(std::span(scores_).first(rows_ * K_)); });
    whole.end_pass();
  }
  return whole.result();
}

// Of the scores that equal a tensor's cut, the first in the order of rows are pruned: `left` of them from here.
void pruner::mark_all(cut& left) {
  for (std::size_t row = 0; row < rows_; ++row) {
    const std::span<const score> scores = row_of(scores_, row);
    const auto equal = static_cast<std::uint64_t>(std::count(scores.begin(), scores.end(), left.at));
    mark(scores, left, row_of(pruned_, row));
    left.equals -= std::min(left.equals, equal);
  }
}

// Quants keep their bits where the type stays; else all weights are rounded anew.
void pruner::encode(std::size_t row) {
  const std::span<const float> weights = row_of(weights_, row);
  const std::span<const std::uint8_t> pruned = row_of(pruned_, row);
  std::vector<float> result(weights.begin(), weights.end());
  if (stored_type_ == source_type_ && can_clear(stored_type_)) {
    std::copy_n(source(row), source_bytes_, encoded(row));
    clear(stored_type_, pruned, encoded(row));
  } else {
    for (std::size_t k = 0; k < K_; ++k) {
      if (pruned[k]) result[k] = 0;
    }
    quantize(stored_type_, result, encoded(row));
  }
  tg::dequantize(stored_type_, encoded(row), result.data(), static_cast<tg::index_t>(K_));  // what a reader will find
  finite_[row] = std::all_of(result.begin(), result.end(), [](float w) { return std::isfinite(w); });
  sums_[row] = compare(weights, result, pruned);
}

outcome pruner::run(const byte_sink& take) {
  const bool whole = how_.within == scope::tensor && !how_.blocks;
  cut left = whole ? cut_of_tensor() : cut{};
  outcome sum;
  for_each_chunk([&] {
    if (whole) {
      mark_all(left);
    } else {
      for_each_row([&](std::size_t row) { mark_row(row_of(scores_, row), how_, row_of(pruned_, row)); });
    }
    for_each_row([&](std::size_t row) { encode(row); });
    check_finite("is too large for the type it is to be stored in");
    for (std::size_t row = 0; row < rows_; ++row) sum += sums_[row];
    take(std::span(encoded_).first(rows_ * stored_bytes_));
  });
  return sum;
}

}  // namespace

outcome& outcome::operator+=(const outcome& more) {
  weights += more.weights;
  pruned += more.pruned;
  zeros += more.zeros;
  energy += more.energy;
  pruned_energy += more.pruned_energy;
  changed_energy += more.changed_energy;
  return *this;
}

outcome prune(const gguf::file& file, const plan& p, const method& how, std::span<const float> norms, tg::thread_pool& pool,
              const byte_sink& take) {
  return pruner(file, p, how, norms, pool).run(take);
}

}  // namespace gguf_prune
