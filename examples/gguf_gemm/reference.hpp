// The reference that every product is compared with: dot products in double of the dequantized weights and the
// activations as they were before tegula quantized them. Only a sample of C's elements is computed, so that checking
// costs less than multiplying.
#pragma once

#include <cstdint>
#include <span>

#include <tegula/tegula.hpp>

namespace gguf_gemm {

namespace tg = tegula;

// The weights of one matrix as they lie in the file: N rows of K.
struct source_matrix {
  tg::type_id type;
  const std::byte* blocks;
  std::uint64_t row_bytes;
  tg::index_t N, K;
};

// Sums over sampled elements, c of a product and r of the reference. Elements that say nothing about the product are left
// out: those whose reference is not finite, or is a sum of terms beyond float's range.
struct sampled_error {
  double difference = 0;  // (c - r)^2; infinite if a c was not finite
  double power = 0;       // |a|^2 |w|^2 / K, the mean of r^2 over activations of that length. Not r^2 itself: a small sample
                          // may hold an r that happens to be near zero, beside which every error is large

  void add(const sampled_error& other) {
    difference += other.difference;
    power += other.power;
  }
  // The normalised mean square error, difference / power.
  double nmse() const;
};

// Compares C = A * W^T with the reference in the first and the last column and up to 14 others, of the first and the last
// row and up to 2 others. A: rows of K activations, as many as C has.
sampled_error compare(const source_matrix& w, std::span<const float> a, tg::matrix_view<const float> c, std::uint64_t seed);

}  // namespace gguf_gemm
