// What the kernels are held against: plain code of its own, from the definition of GGUF's blocks and from the order of exact mode
// as the documentation states it. It shares no constant, table or conversion with the library.
//
// exact, quantized weights:  A as int8, a scale a row per 256 of K.  C = 0; for each super-group of K, ascending:
//   K-quants, per 256:        t = S * d;  with minima t = fma(-I, dmin, t);  C = fma(t, da, C)
//   blocks of 32, per 128:    t = 0;  for each block t = fma(S, d, t), with minima t = fma(I, m, t);  C = fma(t, da, C)
// exact, float weights; and bf16 mode, where A and the weights are rounded to bf16 first:
//   per 32 of K: e = fma over the even k, o = fma over the odd k, from 0;  C += e + o
//   or, by pairs:  s = 0;  for each even k: s = fma over k + 1, then over k;  C += s
// requantized: A as in exact mode; per 256 of K the weights of a column as integers and one scale, C = fma(S * scale, da, C)
// A NaN in C is the quiet NaN 0x7fc00000.
#pragma once

#include <array>
#include <optional>

#include <tegula/core/options.hpp>

#include "data.hpp"

namespace tests::reference {

// weight k = d * scales[k / group_k] * quants[k], plus (K-quants: minus) m * minima[k / group_k].
struct block {
  int block_k = 0, group_k = 0;
  bool has_min = false;
  float d = 0, m = 0;
  std::array<int, 16> scales{}, minima{};
  std::array<int, 256> quants{};
  int least = 0, most = 0;  // what quants can be

  [[nodiscard]] double scaled(int k) const;   // the first part
  [[nodiscard]] double minimum(int k) const;  // what is added to it or taken off
  [[nodiscard]] double weight(int k) const;
};

// The block of a quantized type, or nothing for a type that this file has no decoder for.
std::optional<block> decode(tg::type_id type, const unsigned char* bytes);

float widen_half(std::uint16_t bits);
float widen_bfloat(std::uint16_t bits);
std::uint16_t narrow_half(float value);
std::uint16_t narrow_bfloat(float value);

// A weight matrix decoded: blocks where there is a decoder, floats always.
class weights {
 public:
  weights(const block_info& type, const unsigned char* bytes, tg::index_t N, tg::index_t K);

  [[nodiscard]] bool has_order() const { return !type_.quantized || !blocks_.empty() || K_ == 0; }  // exact() knows the type
  [[nodiscard]] const float* row(tg::index_t n) const { return floats_.data() + n * K_; }
  [[nodiscard]] const block* blocks(tg::index_t n) const { return blocks_.data() + n * (K_ / type_.block_k); }
  [[nodiscard]] tg::index_t rows() const { return N_; }
  [[nodiscard]] tg::index_t cols() const { return K_; }
  [[nodiscard]] const block_info& type() const { return type_; }

 private:
  block_info type_;
  tg::index_t N_, K_;
  std::vector<block> blocks_;
  std::vector<float> floats_;
};

// C[M, N] bit for bit.
std::vector<float> exact(const std::vector<float>& a, tg::index_t M, const weights& w);
std::vector<float> bf16(const std::vector<float>& a, tg::index_t M, const weights& w, bool by_pairs);
std::vector<float> requantized(const std::vector<float>& a, tg::index_t M, const weights& w);

// The product in double, and how far a mode's result may be from it: derived in reference.cpp.
struct bounded {
  double value, tolerance;
};
bounded product(const float* a_row, const weights& w, tg::index_t n, tg::compute mode);

}  // namespace tests::reference
