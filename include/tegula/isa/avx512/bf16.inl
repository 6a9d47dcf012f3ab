// bf16 mode where multiplying pairs of bf16, by VDPBF16PS, is faster than FMAs of floats (cpu_description::bf16_pairs): Zen 4 and later.
// Included inside namespace tegula::avx512 and its target region, behind generic/.
//
// One order, whatever the rows: per 32 of K, s = the pairs ascending, from 0; C += s. Registers: 8 rows x 2 panels of s; 2 vectors of
// weights. Bound: the products, NR * K / 32 a row; 10 loads serve 16 of them.

// Two floats to bf16 as hardware rounds: to nearest even, denormals to zero, which TDPBF16PS would take as zeros anyway.
struct hardware_rounding {
  TEGULA_INLINE static vu32 pair(vf32 even, vf32 odd) {
    alignas(64) static constexpr std::uint16_t interleaved[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                                  8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    vu32 halves;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(halves) : "v"(even), "v"(odd));  // even below odd
    return vu32(_mm512_permutexvar_epi16(load<__m512i>(interleaved), __m512i(halves)));
  }
};

TEGULA_INLINE vf32 add_bf16_products(vf32 sum, vu32 a, vu32 b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}

// C[panel][MR][NR] += A[MR][count] * weights; `a` points at the k-tile that these start with, zeros behind K.
template <int MR, class Weights>
TEGULA_NOINLINE void pair_kernel(const std::byte* a, index_t tile_stride, index_t count, Weights weights, float* c) noexcept {
  constexpr int Panels = Weights::panels;
  for (; count > 0; count -= 32, a += tile_stride)
    weights.template next<MR>([&](const auto& rows) TEGULA_LAMBDA_INLINE {
      const std::byte *from[Panels], *ahead[Panels];
      TEGULA_UNROLL
      for (std::size_t i = 0; i < Panels; ++i) from[i] = opaque(rows.at + i * rows.stride), ahead[i] = opaque(from[i] + rows.ahead);
      vf32 sums[MR][Panels] = {};
      unrolled<16>([&](auto pair) TEGULA_LAMBDA_INLINE {
        vu32 pairs[Panels];
        TEGULA_UNROLL
        for (int i = 0; i < Panels; ++i) {
          if constexpr (std::remove_cvref_t<decltype(rows)>::fetched) prefetch_lines<t::row_bytes>(ahead[i] + pair() * t::row_bytes);
          pairs[i] = load<vu32>(from[i] + pair() * t::row_bytes);
        }
        TEGULA_UNROLL
        for (int m = 0; m < MR; ++m) {
          const vu32 activations = splat_word(a + m * t::row_bytes + pair() * 4);
          TEGULA_UNROLL
          for (int i = 0; i < Panels; ++i) sums[m][i] = add_bf16_products(sums[m][i], pairs[i], activations);
        }
      });
      asm volatile("" : "+r"(c));  // which stays in memory, as there are no registers for it
      for_each_vector<MR, Panels>([&](int m, int i) TEGULA_LAMBDA_INLINE {
        float* to = c + m * t::NR + c_column(i);
        store(to, load<vf32>(to) + sums[m][i]);
      });
    });
}

inline constexpr int pair_rows = 8;  // of A a micro-kernel call

// Panels side by side, a chunk of each in L1; one that is in place is read as one stream.
template <block_format F, int Panels>
TEGULA_INLINE void multiply_pairs(const block_product& p) {
  constexpr index_t most = bf16_chunk_k / Panels;
  constexpr std::size_t most_bytes = most / 2 * t::row_bytes;
  const bool in_place = is_bf16_tiles<F>(p.K);
  const std::size_t panel_bytes = t::panel_layout<F>::panel_bytes(p.K), stride = in_place ? panel_bytes : most_bytes;
  const index_t chunk = in_place && Panels == 1 ? p.K : most;
  alignas(64) std::byte buffer[Panels * most_bytes];
  for (index_t k = 0; k < p.K; k += chunk) {
    const index_t count = p.K - k < chunk ? p.K - k : chunk;
    const std::byte* pairs[Panels];
    for (std::size_t i = 0; i < Panels; ++i)
      pairs[i] = bf16_chunk<F, hardware_rounding>(p.panel + i * panel_bytes, p.K, k, count, buffer + i * most_bytes);
    const weights_in_memory<bf16, Panels> weights{pairs[0], stride, fetch_distance<F>()};
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      const std::byte* a = block.tiles + k / activation_rows<bf16>::tile_k * block.tile_stride();
      for_each_strip<pair_rows, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
        pair_kernel<mr()>(a + m * t::row_bytes, block.tile_stride(), count, weights, c + m * t::NR);
      });
    });
  }
}

template <block_format F>
TEGULA_NOINLINE void pair_macrokernel(const block_product& p) noexcept {
  if (p.panels > 1 && p.rows() > pair_rows) return multiply_pairs<F, 2>(p);
  block_product one = p;
  for (int i = 0; i < p.panels; ++i, one.panel += t::panel_layout<F>::panel_bytes(p.K)) {
    one.c = p.c_of_panel(i);
    multiply_pairs<F, 1>(one);
  }
}

// s of MR rows of A and a sparse panel, whose rows are multiplied as they are expanded. Bound on Zen 5 of a row: a mask's move and the
// expansion, 1.5 cycles; the loads, of values up to two, of a mask and A, 2.
template <class F, int MR, bool Half>
class pair_products {
 public:
  // Adds the products of a row of a tile. a: two bf16 of the first row of A.
  TEGULA_INLINE void add(const std::byte* values, __mmask32 kept, const std::byte* a) {
    vu32 row[1];
    expand_row<2, Half>(values, kept, row);
    if constexpr (!std::is_same_v<F, bf16>) {
      vf32 even, odd;
      widen_rows(row[0], even, odd);
      row[0] = hardware_rounding::pair(even, odd);
    }
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) sums_[m] = add_bf16_products(sums_[m], row[0], splat_word(a + m * t::row_bytes));
  }
  [[nodiscard]] TEGULA_INLINE vf32 total(int m, int) const { return sums_[m]; }

 private:
  vf32 sums_[MR] = {};
};

// How tiles of a sparse panel are multiplied; float_tiles (sparse_floats.inl) says more.
struct pair_tiles {
  using activation = bf16;
  template <class F, int MR, bool Half>
  using products = pair_products<F, MR, Half>;

  template <float_format F, int MR>
  TEGULA_INLINE static void multiply(const std::byte* a, index_t tile_stride, index_t count, const std::byte* stored, float* c) {
    alignas(64) std::byte buffer[16 * t::row_bytes];
    const std::byte* pairs = bf16_chunk<F, hardware_rounding>(stored, count, 0, count, buffer);
    pair_kernel<MR>(a, tile_stride, count, weights_in_memory<bf16, 1, true>{pairs}, c);
  }
};

template <block_format F>
struct pair_macrokernel_of {
  static constexpr int panels = 2;
  static constexpr auto call = &pair_macrokernel<F>;
  TEGULA_INLINE static void from_sparse(const block_product& p) requires float_format<F> { floats_from_sparse<F, pair_tiles>(p); }
};
