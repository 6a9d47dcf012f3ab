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
    vu32 both = load<vu32>(p + vector * lanes * 4);
    hold(both);
    even = vf32(both << 16);
    odd = vf32(both & 0xffff0000u);
  }
  TEGULA_INLINE static vf32 single(const std::byte* p, int vector) { return vf32(load<vu32>(p + vector * lanes * 4) << 16); }
};

// Activations of row m: k and k + 1 in every lane, k even. `tiles` points at the first row of interest in the k-tile that has k = 0,
// `stride` is a k-tile's bytes.
template <class Element>
struct activation_rows;

template <>
struct activation_rows<float> {
  static constexpr index_t tile_k = t::a_tile_k(t::a_kind::f32);
  TEGULA_INLINE static void pair(const std::byte* tiles, index_t stride, int m, index_t k, vf32& even, vf32& odd) {
    const std::byte* p = tiles + k / tile_k * stride + m * t::row_bytes + k % tile_k * 4;
    even = vf32(splat_word(p));
    odd = vf32(splat_word(p + 4));
  }
};
template <>
struct activation_rows<bf16> {
  static constexpr index_t tile_k = t::a_tile_k(t::a_kind::bf16);
  TEGULA_INLINE static void pair(const std::byte* tiles, index_t stride, int m, index_t k, vf32& even, vf32& odd) {
    const vu32 both = splat_word(tiles + k / tile_k * stride + m * t::row_bytes + k % tile_k * 2);
    even = vf32(both << 16);
    odd = vf32(both & 0xffff0000u);
  }
};

// A few rows are bound by reading the weights, and the hardware's prefetchers stop at every 4 KiB page: so each step fetches its share of
// what lies a page ahead. (Zen 4, M = 8, AVX-512: BF16 69 to 103 GFLOP/s, F16 69 to 95, F32 61 to 71.) Fewer rows read on so soon that
// the prefetchers do better alone: at M = 1 from memory it would cost F16 a fifth.
template <std::size_t Bytes>
TEGULA_INLINE void prefetch_page_ahead(const std::byte* weights) {
  constexpr int page = 4096;
  TEGULA_UNROLL
  for (std::size_t line = 0; line < Bytes; line += 64) __builtin_prefetch(weights + page + line);
}

// The sums of 32 of K, of MR rows and Vectors vectors.
template <class AElement, class WElement, int MR, int Vectors>
class float_sums {
 public:
  // k .. k + 1 of the 32, k even.
  TEGULA_INLINE void add_pair(const std::byte* tiles, index_t stride, const std::byte* weights, int vector, index_t k) {
    const std::byte* pair = weights + static_cast<std::size_t>(k / 2) * w::pair_bytes;
    if constexpr (MR >= 4) prefetch_page_ahead<w::pair_bytes>(pair);
    vf32 even[Vectors], odd[Vectors];
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) w::pair(pair, vector + v, even[v], odd[v]);
    add(tiles, stride, k, even, odd);
  }
  // k alone: an odd K ends with one, whose neighbour is zero in A (padding) and taken as zero in W.
  TEGULA_INLINE void add_single(const std::byte* tiles, index_t stride, const std::byte* weights, int vector, index_t k) {
    vf32 even[Vectors], odd[Vectors] = {};
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) even[v] = w::single(weights + static_cast<std::size_t>(k / 2) * w::pair_bytes, vector + v);
    add(tiles, stride, k, even, odd);
  }
  TEGULA_INLINE void add_to(vf32 (&c)[MR][Vectors]) const {
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) c[m][v] += evens_[m][v] + odds_[m][v];
    }
  }

 private:
  using a = activation_rows<AElement>;
  using w = weight_rows<WElement>;

  TEGULA_INLINE void add(const std::byte* tiles, index_t stride, index_t k, const vf32 (&even)[Vectors], const vf32 (&odd)[Vectors]) {
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      vf32 a_even, a_odd;
      a::pair(tiles, stride, m, k, a_even, a_odd);
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        evens_[m][v] = fma(a_even, even[v], evens_[m][v]);
        odds_[m][v] = fma(a_odd, odd[v], odds_[m][v]);
      }
    }
  }

  vf32 evens_[MR][Vectors] = {}, odds_[MR][Vectors] = {};
};

// C[MR][NR] += A[MR][first_k .. first_k + count) * weights; `weights` starts at first_k, which is a multiple of 32.
template <class AElement, class WElement, int MR>
TEGULA_NOINLINE void float_kernel(const std::byte* tiles, index_t tile_stride, index_t first_k, index_t count, const std::byte* weights,
                                  float* c) noexcept {
  constexpr int Vectors = MR <= wide_rows ? panel_vectors : 1;
  constexpr index_t tiles_of_32 = 32 / activation_rows<AElement>::tile_k;
  constexpr std::size_t bytes_of_32 = 16 * weight_rows<WElement>::pair_bytes;
  tiles += first_k / 32 * tiles_of_32 * tile_stride;
  for (int vector = 0; vector < panel_vectors; vector += Vectors) {
    const std::byte *a = tiles, *w = weights;
    vf32 sums[MR][Vectors];
    for_each_vector<MR, Vectors>(c + vector * lanes, [&](int m, int v, float* at) TEGULA_LAMBDA_INLINE { sums[m][v] = load<vf32>(at); });
    for (index_t rest = count; rest >= 32; rest -= 32, a += tiles_of_32 * tile_stride, w += bytes_of_32) {
      float_sums<AElement, WElement, MR, Vectors> of_32;
      TEGULA_UNROLL
      for (index_t k = 0; k < 32; k += 2) of_32.add_pair(a, tile_stride, w, vector, k);
      of_32.add_to(sums);
    }
    if (const index_t rest = count % 32; rest != 0) {
      float_sums<AElement, WElement, MR, Vectors> of_rest;
      for (index_t k = 0; k + 1 < rest; k += 2) of_rest.add_pair(a, tile_stride, w, vector, k);
      if (rest % 2 != 0) of_rest.add_single(a, tile_stride, w, vector, rest - 1);
      of_rest.add_to(sums);
    }
    for_each_vector<MR, Vectors>(c + vector * lanes, [&](int m, int v, float* at) TEGULA_LAMBDA_INLINE { store(at, sums[m][v]); });
  }
}
