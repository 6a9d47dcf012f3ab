// The micro-kernel of float products: exact mode of F32, F16, BF16 weights, and bf16 mode of every type. One order, that of
// TDPBF16PS: per 32 of K, e = fma over the even k, o = fma over the odd k, both ascending from 0; then C += e + o.
// Registers: MR x Vectors each of C, e and o. Bound: the FMAs, NR * K / lanes a row.

// Weights of k and k + 1, k even, as floats; or of k alone, where K ends.
template <class Element>
struct weight_rows;

template <>
struct weight_rows<float> {
  static constexpr std::size_t pair_bytes = 2 * t::NR * 4;
  TEGULA_INLINE static void pair(const std::byte* p, int vector, vf32& even, vf32& odd) {
    even = load<vf32>(p + vector * lanes * 4);
    odd = load<vf32>(p + (vector * lanes + t::NR) * 4);
  }
  TEGULA_INLINE static vf32 single(const std::byte* p, int vector) { return load<vf32>(p + vector * lanes * 4); }
};
template <>
struct weight_rows<f16> {
  static constexpr std::size_t pair_bytes = 2 * t::NR * 2;
  TEGULA_INLINE static void pair(const std::byte* p, int vector, vf32& even, vf32& odd) {
    even = widen_halves(p + vector * lanes * 2);
    odd = widen_halves(p + (vector * lanes + t::NR) * 2);
  }
  TEGULA_INLINE static vf32 single(const std::byte* p, int vector) { return widen_halves(p + vector * lanes * 2); }
};
template <>
struct weight_rows<bf16> {
  static constexpr std::size_t pair_bytes = 2 * t::NR * 2;
  TEGULA_INLINE static void pair(const std::byte* p, int vector, vf32& even, vf32& odd) {
    const vu32 both = load<vu32>(p + vector * lanes * 4);
    even = vf32(both << 16);
    odd = vf32(both & 0xffff0000u);
  }
  TEGULA_INLINE static vf32 single(const std::byte* p, int vector) { return vf32(load<vu32>(p + vector * lanes * 4) << 16); }
};

// Activations of row m: k and k + 1 in every lane. `tiles` points at the first row of interest, `stride` is a k-tile's bytes.
template <class Element>
struct activation_rows;

template <>
struct activation_rows<float> {
  TEGULA_INLINE static void pair(const std::byte* tiles, index_t stride, int m, index_t k, vf32& even, vf32& odd) {
    const std::byte* p = tiles + k / 16 * stride + m * t::row_bytes + k % 16 * 4;
    even = vf32(splat_word(p));
    odd = vf32(splat_word(p + 4));
  }
};
template <>
struct activation_rows<bf16> {
  TEGULA_INLINE static void pair(const std::byte* tiles, index_t stride, int m, index_t k, vf32& even, vf32& odd) {
    const vu32 both = splat_word(tiles + k / 32 * stride + m * t::row_bytes + k % 32 * 2);
    even = vf32(both << 16);
    odd = vf32(both & 0xffff0000u);
  }
};

// Few rows are bound by reading the weights, and the hardware's prefetchers stop at every 4 KiB page: so each step fetches its share of
// what lies a page ahead. (Zen 4, M = 8, AVX-512: BF16 69 to 103 GFLOP/s, F16 69 to 95, F32 61 to 71; M = 1 from memory gains 7 %.)
template <std::size_t Bytes>
TEGULA_INLINE void prefetch_page_ahead(const std::byte* weights) {
  constexpr int page = 4096;
  TEGULA_UNROLL
  for (std::size_t line = 0; line < Bytes; line += 64) __builtin_prefetch(weights + page + line);
}

// C[MR][NR] += A[MR][first_k .. first_k + count) * weights; `weights` starts at first_k, which is a multiple of 32.
template <class AElement, class WElement, int MR>
TEGULA_NOINLINE void float_kernel(const std::byte* tiles, index_t tile_stride, index_t first_k, index_t count, const std::byte* weights,
                                  float* c) noexcept {
  constexpr int Vectors = MR <= wide_rows ? panel_vectors : 1;
  using a = activation_rows<AElement>;
  using w = weight_rows<WElement>;
  for (int vector = 0; vector < panel_vectors; vector += Vectors)
    for (index_t k0 = 0; k0 < count; k0 += 32) {
      const index_t k1 = count - k0 < 32 ? count : k0 + 32;
      vf32 evens[MR][Vectors] = {}, odds[MR][Vectors] = {};
      const auto multiply = [&](index_t k, const vf32(&even)[Vectors], const vf32(&odd)[Vectors]) TEGULA_LAMBDA_INLINE {
        TEGULA_UNROLL
        for (int m = 0; m < MR; ++m) {
          vf32 a_even, a_odd;
          a::pair(tiles, tile_stride, m, first_k + k, a_even, a_odd);
          TEGULA_UNROLL
          for (int v = 0; v < Vectors; ++v) {
            evens[m][v] = fma(a_even, even[v], evens[m][v]);
            odds[m][v] = fma(a_odd, odd[v], odds[m][v]);
          }
        }
      };
      index_t k = k0;
      for (; k + 1 < k1; k += 2) {
        const std::byte* pair = weights + static_cast<std::size_t>(k / 2) * w::pair_bytes;
        prefetch_page_ahead<w::pair_bytes>(pair);
        vf32 even[Vectors], odd[Vectors];
        TEGULA_UNROLL
        for (int v = 0; v < Vectors; ++v) w::pair(pair, vector + v, even[v], odd[v]);
        multiply(k, even, odd);
      }
      if (k < k1) {  // an odd K ends with one k; its neighbour is zero in A (padding) and taken as zero in W
        vf32 even[Vectors], odd[Vectors] = {};
        TEGULA_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          even[v] = w::single(weights + static_cast<std::size_t>(k / 2) * w::pair_bytes, vector + v);
        }
        multiply(k, even, odd);
      }
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) {
        TEGULA_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          float* at = c + m * t::NR + (vector + v) * lanes;
          store(at, load<vf32>(at) + (evens[m][v] + odds[m][v]));
        }
      }
    }
}
