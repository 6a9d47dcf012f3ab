// Epilogues: what happens to an element of C between the product and memory. Any callable (float value, index_t m, index_t n)
// -> float will do: a bias, an activation function, a residual. It runs on rows that are still in cache, on every element once.
#pragma once

#include <concepts>

#include "types.hpp"

namespace tegula::inline TEGULA_ABI {

template <class E>
concept epilogue = requires(const E& e, float value, index_t m, index_t n) {
  { e(value, m, n) } -> std::convertible_to<float>;
};

struct identity_epilogue {
  TEGULA_INLINE float operator()(float value, index_t, index_t) const noexcept { return value; }
};

}  // namespace tegula::inline TEGULA_ABI
