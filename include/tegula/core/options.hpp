// The two choices of a call: instruction set and compute mode.
#pragma once

#include <optional>

#include "types.hpp"

namespace tegula::inline TEGULA_ABI {

// In order, the better the later.
enum class isa { scalar, avx2, avx_vnni, avx512, amx };
inline constexpr isa all_isas[] = {isa::scalar, isa::avx2, isa::avx_vnni, isa::avx512, isa::amx};

// Whether an ISA has all that another one has: the one before it has, but avx_vnni is a branch, which CPUs with AVX-512 may lack.
constexpr bool includes(isa which, isa part) { return part == which || (part < which && part != isa::avx_vnni); }

// How a product is computed; docs/numerics.md defines each. Never mixed silently.
enum class compute {
  exact,        // integer dot products in one documented float order: the same bits on every ISA, for every M and thread count
  bf16,         // A and weights as bf16, f32 sums
  requantized,  // quantized weights brought to int8 with one scale per 256 of K: the same bits everywhere too, less exact, faster
  auto_,        // the library's choice; today that is exact for every type and M
};

constexpr const char* name_of(isa which) {
  constexpr const char* names[] = {"scalar", "avx2", "avx_vnni", "avx512", "amx"};
  return names[static_cast<int>(which)];
}
constexpr const char* name_of(compute how) {
  constexpr const char* names[] = {"exact", "bf16", "requantized", "auto"};
  return names[static_cast<int>(how)];
}

struct gemm_options {
  std::optional<tegula::isa> isa{};          // unset: the best for the shape
  std::optional<tegula::compute> compute{};  // unset: exact, or what the quantized activations were made for
};

}  // namespace tegula::inline TEGULA_ABI
