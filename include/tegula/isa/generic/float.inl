// The micro-kernel of float products: exact mode of F32, F16, BF16 weights, and bf16 mode of every type (where it pays, pairs of bf16 in
// its place: avx512/bf16.inl). One order, that of TDPBF16PS: per 32 of K, e = fma over the even k, o = fma over the odd k, both ascending
// from 0; then C += e + o. Registers: MR x Vectors each of e and o, and of C if there are more. With 16, only few rows sum e and o side by
// side; more sum e of 32 of K, put it aside, and then sum o: 6 x 2 sums, and 8 loads for 12 FMAs. (4 x 1 of both took 10 for 8. Zen 5, F16,
// M = 64: 97 to 123 GFLOP/s.) Bound: the FMAs, NR * K / lanes a row.

// Weights of k and k + 1, k even, as floats; or of k alone, where K ends.
template <class Element>
struct weight_rows {
  static constexpr int vector_bytes = lanes * sizeof(Element), row_bytes = t::NR * sizeof(Element);
  static constexpr std::size_t pair_bytes = 2 * row_bytes;
  TEGULA_INLINE static void pair(const std::byte* p, int vector, vf32& even, vf32& odd) {
    even = single(p, vector);
    odd = single(p + row_bytes, vector);
  }
  TEGULA_INLINE static vf32 single(const std::byte* p, int vector) { return widen<Element>(p + vector * vector_bytes); }
};
template <>
struct weight_rows<bf16> {
  static constexpr std::size_t pair_bytes = 2 * t::NR * 2;
  TEGULA_INLINE static void split(vu32 both, vf32& even, vf32& odd) {
    hold(both);
    even = vf32(both << 16);
    odd = vf32(both & 0xffff0000u);
  }
  TEGULA_INLINE static void pair(const std::byte* p, int vector, vf32& even, vf32& odd) {
    split(load<vu32>(p + vector * lanes * 4), even, odd);
  }
  TEGULA_INLINE static vf32 single(const std::byte* p, int vector) { return vf32(load<vu32>(p + vector * lanes * 4) << 16); }
};

// Activations k and k + 1 of row m in every lane, k even and below 32. `tiles` points at the k-tile of k = 0, `stride` is a k-tile's bytes.
template <class Element>
struct activation_rows;

template <>
struct activation_rows<float> {
  static constexpr index_t tile_k = 16;
  TEGULA_INLINE static void pair(const std::byte* tiles, index_t stride, int m, index_t k, vf32& even, vf32& odd) {
    const std::byte* p = (k < tile_k ? tiles : tiles + stride) + m * t::row_bytes + k % tile_k * 4;
    even = vf32(splat_word(p));
    odd = vf32(splat_word(p + 4));
  }
};
template <>
struct activation_rows<bf16> {
  static constexpr index_t tile_k = 32;
  TEGULA_INLINE static void pair(const std::byte* tiles, index_t, int m, index_t k, vf32& even, vf32& odd) {
    weight_rows<bf16>::split(splat_word(tiles + m * t::row_bytes + k * 2), even, odd);
  }
};

// A few rows are bound by reading the weights, and the hardware's prefetchers stop at every 4 KiB page: so each step fetches its share of
// what lies a page ahead. (Zen 4, M = 8, AVX-512: BF16 69 to 103 GFLOP/s, F16 69 to 95, F32 61 to 71.) Fewer rows read on so soon that
// the prefetchers do better alone: at M = 1 from memory it would cost F16 a fifth. Not so where fetch_distance says how far.
inline constexpr std::size_t fetched_page = 4096;

template <std::size_t Bytes>
TEGULA_INLINE void prefetch_page_ahead(const std::byte* weights) {
  prefetch_lines<Bytes>(opaque(weights) + fetched_page);  // opaque: g++ warns of addresses behind what it knows
}

// 32 of K of weights, as they stand in a panel, or in a few that are `stride` apart and of which all vectors are asked for at once.
// Fetched: what lies `ahead` of those of the first panel is fetched with them.
template <class Element, bool Fetched>
struct rows_in_memory {
  using weights = weight_rows<Element>;
  static constexpr bool fetched = Fetched;
  const std::byte* at;
  std::size_t stride = 0, ahead = 0;

  TEGULA_INLINE void fetch_ahead(index_t k) const {
    if constexpr (Fetched) prefetch_lines<weights::pair_bytes>(opaque(here(k, 0)) + ahead);  // opaque: as above
  }
  template <int Vectors>
  TEGULA_INLINE void pair(index_t k, vf32 (&even)[Vectors], vf32 (&odd)[Vectors]) const {
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) weights::pair(here(k, v), v % panel_vectors, even[v], odd[v]);
  }
  template <int Vectors>
  TEGULA_INLINE void single(index_t k, vf32 (&even)[Vectors]) const {
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) even[v] = weights::single(here(k, v), v % panel_vectors);
  }

 private:
  [[nodiscard]] TEGULA_INLINE const std::byte* here(index_t k, int v) const {
    return at + static_cast<std::size_t>(k / 2) * weights::pair_bytes + static_cast<std::size_t>(v / panel_vectors) * stride;
  }
};

// Weights that stand in panels. Cached: what need not be fetched ahead.
template <class Element, int Panels = 1, bool Cached = false>
struct weights_in_memory {
  static constexpr int panels = Panels;
  const std::byte* at;
  std::size_t stride = 0;  // from a panel to the next
  std::size_t ahead = 0;   // how far ahead to fetch, in bytes; 0: as suits any CPU

  // step(rows) with those of the next 32 of K.
  template <int MR, class Step>
  TEGULA_INLINE void next(Step step) {
    const auto rows_fetched = [&](std::size_t distance) TEGULA_LAMBDA_INLINE {
      step(rows_in_memory<Element, true>{opaque(at), stride, distance});
    };
    // Two lines a step, each read at once: Zen 5's prefetchers do better alone, by a tenth.
    constexpr bool followed = MR == 1 && sizeof(Element) == 4 && panel_vectors == 1;
    if constexpr (Cached || followed) step(rows_in_memory<Element, false>{opaque(at), stride});
    else if constexpr (MR >= 4) rows_fetched(ahead != 0 ? ahead : fetched_page);
    else if (ahead != 0) rows_fetched(ahead);
    else step(rows_in_memory<Element, false>{opaque(at), stride});
    at += 16 * weight_rows<Element>::pair_bytes;
  }
};

// Of which k a pass over 32 of K sums the products.
enum class parity { even, odd, both };

// e and o of MR rows and Vectors vectors of columns, or one of them. They are in registers: nothing here may have an address.
template <parity Of, int MR, int Vectors>
struct float_sums {
  vf32 even[MR][Vectors] = {}, odd[MR][Vectors] = {};

  // Adds the products of `count` of K, at most 32.
  template <class AElement, class Rows>
  TEGULA_INLINE void add(const std::byte* a, index_t tile_stride, index_t count, const Rows& rows) {
    const auto add_pair = [&](index_t k) TEGULA_LAMBDA_INLINE {
      if constexpr (Of != parity::odd) rows.fetch_ahead(k);
      vf32 w_even[Vectors], w_odd[Vectors];
      rows.pair(k, w_even, w_odd);
      add_products<AElement>(a, tile_stride, k, w_even, w_odd);
    };
    if (count >= 32) return unrolled<16>([&](auto pair) TEGULA_LAMBDA_INLINE { add_pair(2 * pair()); });
    index_t k = 0;
    for (; k + 1 < count; k += 2) add_pair(k);
    if (k < count) {  // an odd K ends with one k; its neighbour is zero in A (padding) and taken as zero in W
      vf32 w_even[Vectors], w_odd[Vectors] = {};
      rows.single(k, w_even);
      add_products<AElement>(a, tile_stride, k, w_even, w_odd);
    }
  }

 private:
  template <class AElement>
  TEGULA_INLINE void add_products(const std::byte* tiles, index_t stride, index_t k, const vf32 (&w_even)[Vectors],
                                  const vf32 (&w_odd)[Vectors]) {
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      vf32 a_even, a_odd;
      activation_rows<AElement>::pair(tiles, stride, m, k, a_even, a_odd);
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        if constexpr (Of != parity::odd) add_product(even[m][v], a_even, w_even[v]);
        if constexpr (Of != parity::even) add_product(odd[m][v], a_odd, w_odd[v]);
      }
    }
  }
  TEGULA_INLINE static void add_product(vf32& sum, vf32 a, vf32 w) {
    sum = fma(a, w, sum);
    if constexpr (Of != parity::both) keep_in_register(sum);
  }
};

// Calls add(m, v, e + o) with sums of the products of `count` of K, at most 32.
template <class AElement, int MR, int Vectors, class Rows, class Add>
TEGULA_INLINE void multiply_32(const std::byte* a, index_t tile_stride, index_t count, const Rows& rows, Add add) {
  if constexpr (MR <= paired_rows) {
    float_sums<parity::both, MR, Vectors> sums;
    sums.template add<AElement>(a, tile_stride, count, rows);
    for_each_vector<MR, Vectors>([&](int m, int v) TEGULA_LAMBDA_INLINE { add(m, v, sums.even[m][v] + sums.odd[m][v]); });
  } else {
    vf32 even[MR][Vectors];  // in memory
    float_sums<parity::even, MR, Vectors> e;
    e.template add<AElement>(a, tile_stride, count, rows);
    for_each_vector<MR, Vectors>([&](int m, int v) TEGULA_LAMBDA_INLINE {
      even[m][v] = e.even[m][v];
      leave_in_memory(even[m][v]);
    });
    float_sums<parity::odd, MR, Vectors> o;
    o.template add<AElement>(a, tile_stride, count, rows);
    for_each_vector<MR, Vectors>([&](int m, int v) TEGULA_LAMBDA_INLINE { add(m, v, even[m][v] + o.odd[m][v]); });
  }
}

// C[MR][NR] += A[MR][first_k .. first_k + count) * weights, which start at first_k, a multiple of 32.
template <class AElement, int MR, class Weights>
TEGULA_NOINLINE void float_kernel(const std::byte* tiles, index_t tile_stride, index_t first_k, index_t count, Weights weights,
                                  float* c) noexcept {
  constexpr int Vectors = Weights::panels * panel_vectors;
  const std::byte* a = tiles + first_k / activation_rows<AElement>::tile_k * tile_stride;
  const auto c_at = [&](int m, int v) TEGULA_LAMBDA_INLINE { return c + m * t::NR + c_column(v); };
  vf32 results[MR][Vectors];
  for_each_vector<MR, Vectors>([&](int m, int v) TEGULA_LAMBDA_INLINE { results[m][v] = load<vf32>(c_at(m, v)); });
  for (index_t k = 0; k < count; k += 32, a += 32 / activation_rows<AElement>::tile_k * tile_stride)
    weights.template next<MR>([&](const auto& rows) TEGULA_LAMBDA_INLINE {
      multiply_32<AElement, MR, Vectors>(a, tile_stride, count - k, rows, [&](int m, int v, vf32 sum) TEGULA_LAMBDA_INLINE {
        results[m][v] += sum;
        leave_in_memory(results[m][v]);
      });
    });
  for_each_vector<MR, Vectors>([&](int m, int v) TEGULA_LAMBDA_INLINE { store(c_at(m, v), results[m][v]); });
}
