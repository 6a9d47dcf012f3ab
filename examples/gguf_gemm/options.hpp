// What the user asked for; filled by gguf_gemm.cpp, read by the rest.
#pragma once

#include <tegula/tegula.hpp>

#include "program/program.hpp"

namespace gguf_gemm {

namespace tg = tegula;

struct options : program::options {
  std::vector<tg::index_t> rows{1, 16, 512};  // the Ms, rows of activations
  std::optional<tg::isa> isa;                 // nothing: the best one
  tg::compute compute = tg::compute::exact;
  double min_seconds = 0.020;    // a product is repeated until it has been timed this long in total
  double max_nmse = 1e-3;        // a larger error is an error of the program
  std::uint64_t max_memory = 0;  // bytes for one matrix, its activations and results; 0: see memory_limit()
  std::uint64_t seed = 1;
  bool sparse = false;  // standard matrices are compressed, and multiplied in both forms
  bool strict = false;  // an unsupported type is an error
};

// Twice the file, but not less than this: C of a usual M is larger than a small file.
inline constexpr std::uint64_t least_max_memory = std::uint64_t{64} << 20;

inline std::uint64_t memory_limit(const options& o, std::uint64_t file_bytes) {
  if (o.max_memory != 0) return o.max_memory;
  return 2 * file_bytes > least_max_memory ? 2 * file_bytes : least_max_memory;
}

}  // namespace gguf_gemm
