// The two choices of a call: instruction set and compute mode.
#pragma once

#include <optional>

#include "types.hpp"

namespace tegula::inline TEGULA_ABI {

// In order: each has all that the one before it needs.
enum class isa { scalar, avx2, avx512, amx };

// How a product is computed; docs/numerics.md defines each. Never mixed silently.
enum class compute {
  exact,  // integer dot products in one documented float order: the same bits on every ISA, for every M and thread count
  bf16,   // A and weights as bf16, f32 sums
  auto_,  // the library's choice; today that is exact for every type and M
};

constexpr const char* name_of(isa which) {
  return which == isa::amx ? "amx" : which == isa::avx512 ? "avx512" : which == isa::avx2 ? "avx2" : "scalar";
}
constexpr const char* name_of(compute how) { return how == compute::bf16 ? "bf16" : how == compute::auto_ ? "auto" : "exact"; }

struct gemm_options {
  std::optional<tegula::isa> isa{};          // unset: the best for the shape
  std::optional<tegula::compute> compute{};  // unset: exact, or what the quantized activations were made for
};

}  // namespace tegula::inline TEGULA_ABI
