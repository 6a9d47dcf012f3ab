// Which weights are pruned: those of the lowest scores, of a row, of a whole tensor, or of each few weights in a row.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gguf_prune {

// Of every `of` consecutive weights of a row, `kept` are kept: 2:4.
struct pattern {
  int kept = 0, of = 0;
};

enum class scope { row, tensor };

struct method {
  double sparsity = 0.5;  // the share of weights that is pruned, to the nearest count
  scope within = scope::row;
  std::optional<pattern> blocks;  // instead of sparsity and scope

  double share() const { return blocks ? 1 - static_cast<double>(blocks->kept) / blocks->of : sparsity; }
  std::uint64_t count(std::uint64_t weights) const;  // of so many weights, how many are pruned
};

std::string describe(const method& how);  // "of each row", "of each tensor", "2:4"

// The bits of a float that is not negative, which are in the order of the floats.
using score = std::uint32_t;

// |w|, or |w| * norm of its column (Wanda, arXiv 2306.11695), for a row. norms: as many as weights, or none.
void score_weights(std::span<const float> weights, std::span<const float> norms, std::span<score> scores);

// Where scores are cut: those below `at` are pruned, and of those equal to it the first `equals`.
struct cut {
  score at = 0;
  std::uint64_t equals = 0;
};

// The cut that prunes the `count` lowest of these scores, which it reorders.
cut cut_of(std::span<score> scores, std::uint64_t count);

// Sets pruned[i] to whether the cut prunes scores[i].
void mark(std::span<const score> scores, cut at, std::span<std::uint8_t> pruned);

// The same for a row, in scope::row or in blocks.
void mark_row(std::span<const score> scores, const method& how, std::span<std::uint8_t> pruned);

// Finds the cut of a whole tensor in two passes over its scores, in the memory of a histogram: of their upper halves first, then
// of the lower halves of those that share the cut's upper half.
class streamed_cut {
 public:
  explicit streamed_cut(std::uint64_t count) : left_(count), histogram_(std::size_t{1} << 16) {}
  void add(std::span<const score> scores);
  void end_pass();                                 // when every score was added once
  cut result() const { return {prefix_, left_}; }  // after two passes

 private:
  bool second_pass_ = false;
  score prefix_ = 0;    // bits of the cut known so far
  std::uint64_t left_;  // of the scores with that prefix, how many are pruned
  std::vector<std::uint64_t> histogram_;
};

}  // namespace gguf_prune
