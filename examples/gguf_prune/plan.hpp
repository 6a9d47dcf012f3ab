// What becomes of each tensor, before anything is read of its data.
#pragma once

#include <string>
#include <vector>

#include "gguf/gguf.hpp"
#include "options.hpp"

namespace gguf_prune {

struct plan {
  const gguf::tensor* tensor = nullptr;
  bool pruned = false;
  tg::type_id stored{0};  // the type of what is written, when it is pruned
  std::string note;       // of a tensor that is copied: why
  std::string problem;    // why it cannot be pruned as asked for, and what to do; empty: it can
};

// For every tensor of the file, in file order.
std::vector<plan> make_plans(const gguf::file& file, const options& o);

}  // namespace gguf_prune
