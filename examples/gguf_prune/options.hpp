// What the user asked for; filled by gguf_prune.cpp, read by the rest.
#pragma once

#include <tegula/tegula.hpp>

#include "program/program.hpp"
#include "selection.hpp"

namespace gguf_prune {

namespace tg = tegula;

struct options : program::options {
  options() { tensor_regex = R"(^blk\.[0-9]+\..*\.weight$)"; }

  std::string output;  // empty: no file is written (--list, --dry-run)
  method how;
  std::string norms;                // a GGUF file of column norms; empty: weights count by their own magnitude
  std::optional<tg::type_id> type;  // stored type of what is pruned; nothing: the tensor's own
  bool sparse = false;              // pruned matrices are written compressed
  bool expand = false;              // nothing is pruned: a sparse file becomes a standard one
  bool dry_run = false;
};

}  // namespace gguf_prune
