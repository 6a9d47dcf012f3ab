// AVX-VNNI's dot products, on AVX2's vectors. The vocabulary is described in scalar/simd.inl.
// Included inside namespace tegula::avx_vnni and its target region.

using avx2::max_rows, avx2::paired_rows, avx2::many_registers;  // of float kernels, which are AVX2's
inline constexpr int byte_rows = 4;                             // of both halves of a panel: 8 sums
using avx2::packed_rows, avx2::packed_strip;
inline constexpr int exact_rows = 4;  // 8 partial sums hide the latency of 4 or 5 cycles at 2 a cycle
inline constexpr int exact_vectors = 2;
inline constexpr int in_place_rows = 2;

#include "../avx2/vectors.inl"

// {vex}, or an assembler takes AVX-512's encoding. Asm, so that the region needs no feature beyond AVX2's, whose functions are inlined
// into it, and clang does not rewrite vpdpwssd as a multiply and an add.
TEGULA_INLINE vi32 add_quad_products(vi32 sum, vu32 quants, vu32 activations) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(quants), "x"(activations));
  return sum;
}
TEGULA_INLINE vi32 add_pair_products(vi32 sum, vi32 a, vi32 b) {
  asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "xm"(b));
  return sum;
}

inline constexpr int scaled_chains = 1;  // a second chain of sums, and of offsets, costs more than vpmulld
#include "../generic/vnni_dot.inl"
