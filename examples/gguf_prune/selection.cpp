// See selection.hpp.
#include "selection.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace gguf_prune {

std::uint64_t method::count(std::uint64_t weights) const {
  if (blocks) return weights / static_cast<std::uint64_t>(blocks->of) * static_cast<std::uint64_t>(blocks->of - blocks->kept);
  return std::min(weights, static_cast<std::uint64_t>(std::llround(sparsity * static_cast<double>(weights))));
}

std::string describe(const method& how) {
  if (how.blocks) return std::to_string(how.blocks->kept) + ":" + std::to_string(how.blocks->of);
  return how.within == scope::row ? "of each row" : "of each tensor";
}

void score_weights(std::span<const float> weights, std::span<const float> norms, std::span<score> scores) {
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const float magnitude = std::abs(weights[k]);
    scores[k] = std::bit_cast<score>(norms.empty() ? magnitude : magnitude * norms[k]);
  }
}

cut cut_of(std::span<score> scores, std::uint64_t count) {
  if (count == 0) return {};
  const auto last = scores.begin() + static_cast<std::ptrdiff_t>(count) - 1;  // the highest that is pruned
  std::nth_element(scores.begin(), last, scores.end());
  return {*last, static_cast<std::uint64_t>(std::count(scores.begin(), last + 1, *last))};
}

void mark(std::span<const score> scores, cut at, std::span<std::uint8_t> pruned) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const bool equal = scores[i] == at.at && at.equals > 0;
    pruned[i] = scores[i] < at.at || equal;
    at.equals -= equal;
  }
}

void mark_row(std::span<const score> scores, const method& how, std::span<std::uint8_t> pruned) {
  const std::size_t step = how.blocks ? static_cast<std::size_t>(how.blocks->of) : scores.size();
  std::vector<score> reordered(scores.begin(), scores.end());
  for (std::size_t first = 0; first < scores.size(); first += step) {
    const cut at = cut_of(std::span(reordered).subspan(first, step), how.count(step));
    mark(scores.subspan(first, step), at, pruned.subspan(first, step));
  }
}

void streamed_cut::add(std::span<const score> scores) {
  for (const score s : scores) {
    if (!second_pass_) {
      ++histogram_[s >> 16];
    } else if (s >> 16 == prefix_ >> 16) {
      ++histogram_[s & 0xffff];
    }
  }
}

void streamed_cut::end_pass() {
  std::size_t bin = 0;
  while (bin + 1 < histogram_.size() && histogram_[bin] < left_) left_ -= histogram_[bin++];
  prefix_ |= static_cast<score>(bin) << (second_pass_ ? 0 : 16);
  second_pass_ = true;
  std::fill(histogram_.begin(), histogram_.end(), 0);
}

}  // namespace gguf_prune
