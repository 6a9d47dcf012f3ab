// GGUF's quantized blocks, decoded by hand from their definition in the format's specification, and the 16-bit floats by
// arithmetic. Golden vectors (kernels/golden.cpp) hold both against the gguf package.
#include "reference.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace tests::reference {

float widen_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.f : 1.f;
  if (exponent == 31) return fraction == 0 ? sign * std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

float widen_bfloat(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t narrow_half(float value) {
  const unsigned sign = std::signbit(value) ? 0x8000u : 0u;
  const auto with_sign = [&](unsigned magnitude) { return static_cast<std::uint16_t>(sign | magnitude); };
  if (std::isnan(value)) return with_sign(0x7e00);
  const double x = std::fabs(static_cast<double>(value));
  if (x >= 65520) return with_sign(0x7c00);  // halfway between the largest half and 2^16
  if (x == 0) return with_sign(0);
  // The unit of x's binade, not below that of subnormals; a carry into the next binade comes out right by itself.
  const int exponent = std::max(std::ilogb(x), -14);
  const auto units = static_cast<unsigned>(std::nearbyint(std::ldexp(x, 10 - exponent)));
  return with_sign(units + static_cast<unsigned>(exponent + 14) * 1024u);
}

std::uint16_t narrow_bfloat(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  const std::uint32_t low = bits & 0xffff, high = bits >> 16;
  const bool up = low > 0x8000 || (low == 0x8000 && (high & 1) != 0);
  return static_cast<std::uint16_t>(high + (up ? 1 : 0));
}

double block::scaled(int k) const {
  return static_cast<double>(d) * scales[static_cast<std::size_t>(k / group_k)] * quants[static_cast<std::size_t>(k)];
}
double block::minimum(int k) const { return static_cast<double>(m) * minima[static_cast<std::size_t>(k / group_k)]; }
double block::weight(int k) const { return !has_min ? scaled(k) : block_k == 256 ? scaled(k) - minimum(k) : scaled(k) + minimum(k); }

namespace {

float half_at(const unsigned char* p) {
  std::uint16_t bits;
  std::memcpy(&bits, p, 2);
  return widen_half(bits);
}
int signed_byte(unsigned char b) { return b < 128 ? b : b - 256; }

block of_32(float d, int least, int most) {
  block b{32, 32};
  b.d = d;
  b.least = least;
  b.most = most;
  b.scales[0] = 1;
  return b;
}

void nibbles_of_32(block& b, const unsigned char* q) {
  for (std::size_t i = 0; i < 16; ++i) {
    b.quants[i] = (q[i] & 15) + b.least;
    b.quants[i + 16] = (q[i] >> 4) + b.least;
  }
}

block q4_0(const unsigned char* p) {
  block b = of_32(half_at(p), -8, 7);
  nibbles_of_32(b, p + 2);
  return b;
}

block q4_1(const unsigned char* p) {
  block b = of_32(half_at(p), 0, 15);
  b.has_min = true;
  b.m = half_at(p + 2);
  b.minima[0] = 1;
  nibbles_of_32(b, p + 4);
  return b;
}

block q8_0(const unsigned char* p) {
  block b = of_32(half_at(p), -128, 127);
  for (std::size_t i = 0; i < 32; ++i) b.quants[i] = signed_byte(p[2 + i]);
  return b;
}

// tegula's own.
block q8_256(const unsigned char* p) {
  block b{256, 256};
  std::memcpy(&b.d, p, 4);
  b.least = -128;
  b.most = 127;
  b.scales[0] = 1;
  for (std::size_t i = 0; i < 256; ++i) b.quants[i] = signed_byte(p[4 + i]);
  return b;
}

// d, dmin and the twelve bytes of 6-bit scales and minima that Q4_K and Q5_K share.
block with_k_scales(const unsigned char* p, int most) {
  block b{256, 32};
  b.most = most;
  b.has_min = true;
  b.d = half_at(p);
  b.m = half_at(p + 2);
  const unsigned char* s = p + 4;
  for (std::size_t g = 0; g < 8; ++g) {
    const bool low = g < 4;
    b.scales[g] = low ? s[g] & 63 : (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
    b.minima[g] = low ? s[g + 4] & 63 : (s[g + 4] >> 4) | (s[g] >> 6) << 4;
  }
  return b;
}

// Two groups of 32 share 32 bytes: the first has the low nibbles.
int k_nibble(const unsigned char* q, std::size_t k) { return q[k / 64 * 32 + k % 32] >> (k / 32 % 2 == 0 ? 0 : 4) & 15; }

block q4_k(const unsigned char* p) {
  block b = with_k_scales(p, 15);
  for (std::size_t k = 0; k < 256; ++k) b.quants[k] = k_nibble(p + 16, k);
  return b;
}

block q5_k(const unsigned char* p) {
  block b = with_k_scales(p, 31);
  for (std::size_t k = 0; k < 256; ++k) b.quants[k] = k_nibble(p + 48, k) | (p[16 + k % 32] >> (k / 32) & 1) << 4;
  return b;
}

block q6_k(const unsigned char* p) {
  block b{256, 16};
  const unsigned char *low = p, *high = p + 128, *scales = p + 192;
  b.d = half_at(p + 208);
  b.least = -32;
  b.most = 31;
  for (std::size_t half = 0; half < 2; ++half, low += 64, high += 32)
    for (std::size_t i = 0; i < 32; ++i) {
      const std::size_t k = 128 * half + i;
      b.quants[k] = ((low[i] & 15) | (high[i] & 3) << 4) - 32;
      b.quants[k + 32] = ((low[i + 32] & 15) | (high[i] >> 2 & 3) << 4) - 32;
      b.quants[k + 64] = ((low[i] >> 4) | (high[i] >> 4 & 3) << 4) - 32;
      b.quants[k + 96] = ((low[i + 32] >> 4) | (high[i] >> 6 & 3) << 4) - 32;
    }
  for (std::size_t g = 0; g < 16; ++g) b.scales[g] = signed_byte(scales[g]);
  return b;
}

}  // namespace

std::optional<block> decode(tg::type_id type, const unsigned char* bytes) {
  switch (type.value) {
    case 2: return q4_0(bytes);
    case 3: return q4_1(bytes);
    case 8: return q8_0(bytes);
    case 12: return q4_k(bytes);
    case 13: return q5_k(bytes);
    case 14: return q6_k(bytes);
    case 0x10000: return q8_256(bytes);
    default: return std::nullopt;
  }
}

}  // namespace tests::reference
