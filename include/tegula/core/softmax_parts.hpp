// softmax_parts: what attention has found in parts of a sequence, until they are joined.
#pragma once

#include "types.hpp"

namespace tegula::inline TEGULA_ABI::detail {

// For each part and each of `rows` query heads: the largest score, the sum of e^(score - largest), and the sum of V times these weights,
// `columns` floats, a multiple of 16.
struct softmax_parts {
  float *largest, *sums;  // [part][row]
  float* mixes;           // [part][row][column]
  index_t rows, columns;

  static index_t floats(index_t parts, index_t rows, index_t columns) { return parts * rows * (columns + 2); }
  static softmax_parts in(float* memory, index_t parts, index_t rows, index_t columns) {
    float* largest = memory + parts * rows * columns;
    return {largest, largest + parts * rows, memory, rows, columns};
  }
  [[nodiscard]] softmax_parts from(index_t part) const {
    return {largest + part * rows, sums + part * rows, mixes + part * rows * columns, rows, columns};
  }
};

}  // namespace tegula::inline TEGULA_ABI::detail
