// The pruning of one matrix: its rows are read, pruned and handed on a few at a time, by all threads of a pool.
#pragma once

#include <span>

#include <tegula/thread_pool.hpp>

#include "copy.hpp"
#include "plan.hpp"

namespace gguf_prune {

struct outcome {
  std::uint64_t weights = 0, pruned = 0, zeros = 0;          // zeros: of the result, those that were pruned among them
  double energy = 0, pruned_energy = 0, changed_energy = 0;  // sums of w^2, of the pruned w^2, of (w - result)^2

  outcome& operator+=(const outcome& more);
  double sparsity() const { return static_cast<double>(zeros) / static_cast<double>(weights); }
  double energy_lost() const { return energy > 0 ? pruned_energy / energy : 0; }
  double nmse() const { return energy > 0 ? changed_energy / energy : 0; }  // of pruning and of the new type together
};

// `take` gets the rows of the result in order, in p.stored. norms: of the columns, or none. Throws std::runtime_error for a weight
// that is not finite, or too large for the stored type.
outcome prune(const gguf::file& file, const plan& p, const method& how, std::span<const float> norms, tg::thread_pool& pool,
              const byte_sink& take);

}  // namespace gguf_prune
