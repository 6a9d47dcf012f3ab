// Number types: index_t, the 16-bit floats, and their conversions, written with integers so that neither the caller's
// -ffast-math nor MXCSR's denormal bits (FTZ, DAZ) change a result.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "config.hpp"

namespace tegula::inline TEGULA_ABI {

using index_t = std::int64_t;

// A tensor type by the number that ggml and GGUF give it. Numbers from 65,536 on are tegula's own: no GGUF file has them.
struct type_id {
  std::uint32_t value = 0;
  // A number outside 32 bits becomes one that no type has.
  constexpr explicit type_id(std::int64_t number)
      : value(number == static_cast<std::uint32_t>(number) ? static_cast<std::uint32_t>(number) : ~0u) {}
  friend constexpr bool operator==(type_id, type_id) = default;
};

TEGULA_BEGIN_PRECISE

TEGULA_INLINE float widen_f16(std::uint16_t half) noexcept {
  const std::uint32_t sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu;
  // A subnormal half is magnitude * 2^-24, a normal float.
  if (magnitude < 0x0400u) return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-24f));
  if (magnitude > 0x7c00u) return std::bit_cast<float>(sign | 0x7fc00000u | (magnitude << 13));
  const std::uint32_t exponent_offset = magnitude == 0x7c00u ? 224u << 23 : 112u << 23;
  return std::bit_cast<float>(sign | ((magnitude << 13) + exponent_offset));
}

// Round to nearest, ties to even; NaN stays NaN, too large becomes infinite.
TEGULA_INLINE std::uint16_t narrow_f16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x47800000u) {  // 2^16 and above; what rounds up to it falls out below
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {
    half = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  } else {  // a subnormal half: shift the significand so far that its unit is 2^-24
    const std::uint32_t shift = 126u - (magnitude >> 23);
    const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
    half = shift > 24u ? 0u : (significand + (1u << (shift - 1)) - 1u + ((significand >> shift) & 1u)) >> shift;
  }
  return static_cast<std::uint16_t>(sign | half);
}

TEGULA_INLINE float widen_bf16(std::uint16_t bits) noexcept { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

// Round to nearest, ties to even; NaN stays NaN; denormals are kept.
TEGULA_INLINE std::uint16_t narrow_bf16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

TEGULA_END_PRECISE

// The 16-bit floats are element types of A and C and, as GGUF's F16 and BF16, weight formats as well (formats/).
struct f16 {
  std::uint16_t bits = 0;

  static constexpr type_id id{1};
  static constexpr const char* name = "f16";
  using element = f16;

  f16() = default;
  explicit f16(float value) noexcept : bits(narrow_f16(value)) {}
  explicit operator float() const noexcept { return widen_f16(bits); }
};

struct bf16 {
  std::uint16_t bits = 0;

  static constexpr type_id id{30};
  static constexpr const char* name = "bf16";
  using element = bf16;

  bf16() = default;
  explicit bf16(float value) noexcept : bits(narrow_bf16(value)) {}
  explicit operator float() const noexcept { return widen_bf16(bits); }
};

}  // namespace tegula::inline TEGULA_ABI
