// Micro-kernels of exact mode for quantized weights:
//
//   integer_scales, per 256:  t = S * d;  t = fma(-I, dmin, t);  C = fma(t, da, C)     S, I: integer sums over the 256
//   float_scales, per 128:    t = fma(S_g, d_g, t);  t = fma(I_g, m_g, t)  for 4 blocks from t = 0;  C = fma(t, da, C)
//
// with super-groups of K ascending: the one order (docs/numerics.md). Rows of A: MR <= max_rows of one block, columns: Vectors
// vectors of one panel. Registers: MR x Vectors each of C, sums and partial sums. Bound: the dot products,
// NR * K / (4 * lanes) a row, and unpacking, which MR rows share.

// MR rows of a block of A, from the first row of interest on.
struct a_rows {
  const std::byte* tiles;
  const float* scales;
  const float* sums32;
  const float* sums16;
  const std::uint16_t* pairs;
  index_t block_rows_;  // rows of the whole block: what its layout steps by

  TEGULA_INLINE a_rows(const t::a_block& block, index_t first)
      : tiles(block.tiles + first * t::row_bytes), scales(block.scales + first), sums32(block.sums32 + first * t::sums32_per_scale),
        sums16(block.sums16 + first * t::sums16_per_scale), pairs(block.pairs), block_rows_(block.rows) {}

  // Four consecutive int8 of row m from k on, in every lane.
  [[nodiscard]] TEGULA_INLINE vu32 quad(int m, index_t k) const {
    return splat_word(tiles + k / 64 * block_rows_ * t::row_bytes + m * t::row_bytes + k % 64);
  }
  [[nodiscard]] TEGULA_INLINE vf32 scale(int m, index_t k) const { return splat(scales[k / t::scale_k * block_rows_ + m]); }
  [[nodiscard]] TEGULA_INLINE vf32 sum32(int m, index_t k) const {
    return splat(sums32[(k / t::scale_k * block_rows_ + m) * t::sums32_per_scale + k % t::scale_k / 32]);
  }
  [[nodiscard]] TEGULA_INLINE vf32 sum16(int m, index_t k) const {
    return splat(sums16[(k / t::scale_k * block_rows_ + m) * t::sums16_per_scale + k % t::scale_k / 16]);
  }
};

// A chunk of K of one panel: super-groups [first, last), with the quants at `quants` ([block][rows], as Source reads them).
template <quant_format F>
struct weight_chunk {
  const std::byte* panel;
  index_t K, first, last;
};

// Dot products of one group: rows `row` .. of a block, k from `k` on; each partial sum goes to flush(m, v, partial) as soon as
// it may hold no more.
template <quant_format F, class Source, class Partial, int Steps, int MR, int Vectors, class Flush>
TEGULA_INLINE void group_dots(const a_rows& a, index_t k, const std::byte* block, int row, Flush flush) {
  constexpr int group_rows = F::group_k / 4;
  TEGULA_UNROLL for (int first = 0; first < group_rows; first += Steps) {
    Partial partial[MR][Vectors];
    TEGULA_UNROLL for (int r = first; r < (first + Steps < group_rows ? first + Steps : group_rows); ++r) {
      vu32 quants[Vectors];
      TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) quants[v] = Source::row(block + v * lanes * 4, row + r);
      TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
        const vu32 activations = a.quad(m, k + 4 * r);
        TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) partial[m][v].add(quants[v], activations);
      }
    }
    TEGULA_UNROLL for (int m = 0; m < MR; ++m)
      TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) flush(m, v, partial[m][v]);
  }
}

// Calls function(g) for all groups of a block: unrolled where the row's number selects the field to extract, looped elsewhere.
template <class F, class Source, class Function>
TEGULA_INLINE void for_each_group(Function function) {
  if constexpr (std::is_same_v<Source, packed_source<F>>) {
    TEGULA_UNROLL for (int g = 0; g < t::traits<F>::groups; ++g) { function(g); }
  } else {
#pragma GCC unroll 1
    for (int g = 0; g < t::traits<F>::groups; ++g) function(g);
  }
}

// One super-group: t for MR x Vectors.
template <integer_scales F, class Source, int MR, int Vectors>
TEGULA_INLINE void exact_super(const a_rows& a, index_t k0, const super_group<F>& super, const std::byte* quants, int vector,
                               vf32 (&result)[MR][Vectors]) {
  using traits = t::traits<F>;
  using partial = partial_dot<traits::max_quant, F::group_k>;
  constexpr int groups = traits::groups;
  vi32 scales[groups][Vectors];
  vf32 minima[traits::has_min ? groups : 1][Vectors];
  TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) {
    const scale_words<F> words(super, vector + v);
    TEGULA_UNROLL for (int g = 0; g < groups; ++g) {
      scales[g][v] = byte_of<F::signed_scales>(words.scales(g / 4), g % 4);
      if constexpr (traits::has_min) minima[g][v] = to_float(byte_of<false>(words.minima(g / 4), g % 4));
    }
  }

  vi32 sums[MR][Vectors] = {};
  if constexpr (F::offset != 0) {  // sum of scale * offset * a: exact in float, as every partial sum is below 2^24
    static_assert(F::group_k == 16, "which group sums to use");
    vf32 offsets[MR][Vectors] = {};
#pragma GCC unroll 1
    for (int g = 0; g < groups; ++g)
      TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
        TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) {
          offsets[m][v] = fma(a.sum16(m, k0 + 16 * g), to_float(scales[g][v]), offsets[m][v]);
        }
      }
    TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) { sums[m][v] = round_to_int(offsets[m][v]) * -F::offset; }
    }
  }

  for_each_group<F, Source>([&](int g) TEGULA_LAMBDA_INLINE {
    vi32 operand[Vectors];
    TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) { operand[v] = partial::scale_operand(scales[g][v]); }
    group_dots<F, Source, partial, partial::steps, MR, Vectors>(
        a, k0 + F::group_k * g, quants + static_cast<std::size_t>(vector * lanes * 4), g * (F::group_k / 4),
        [&](int m, int v, const partial& p) TEGULA_LAMBDA_INLINE { sums[m][v] = p.scaled(sums[m][v], operand[v]); });
  });

  vf32 minimum_sums[MR][Vectors] = {};
  if constexpr (traits::has_min) {  // exact in float: below 2^24
    static_assert(F::group_k == 32, "which group sums to use");
    TEGULA_UNROLL for (int g = 0; g < groups; ++g) {
      TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
        const vf32 sum = a.sum32(m, k0 + 32 * g);
        TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) { minimum_sums[m][v] = fma(sum, minima[g][v], minimum_sums[m][v]); }
      }
    }
  }
  TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) {
    const std::size_t halves = static_cast<std::size_t>((vector + v) * lanes * 2);
    const vf32 d = widen_halves(super.d(0) + halves);
    TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
      result[m][v] = to_float(sums[m][v]) * d;
      if constexpr (traits::has_min)
        result[m][v] = fma(-minimum_sums[m][v], widen_halves(super.m(0) + halves), result[m][v]);
    }
  }
}

template <float_scales F, class Source, int MR, int Vectors>
TEGULA_INLINE void exact_super(const a_rows& a, index_t k0, const super_group<F>& super, const std::byte* quants, int vector,
                               vf32 (&result)[MR][Vectors]) {
  using traits = t::traits<F>;
  using partial = partial_dot<traits::max_quant, F::group_k>;
  constexpr bool offset = F::offset != 0 && !partial::offset_applied;
  for (auto& row : result)
    for (auto& x : row) x = vf32{};
#pragma GCC unroll 1
  for (std::size_t b = 0; b < super.blocks; ++b) {
    const index_t k = k0 + static_cast<index_t>(b) * 32;
    vi32 sums[MR][Vectors] = {};
    group_dots<F, Source, partial, partial::unscaled_steps, MR, Vectors>(
        a, k, quants + b * Source::block_stride + static_cast<std::size_t>(vector * lanes * 4), 0,
        [&](int m, int v, const partial& p) TEGULA_LAMBDA_INLINE { sums[m][v] = p.total(sums[m][v]); });
    TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) {
      const std::size_t halves = static_cast<std::size_t>((vector + v) * lanes * 2);
      const vf32 d = widen_halves(super.d(b) + halves);
      TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
        vf32 dot = to_float(sums[m][v]);
        if constexpr (offset) dot = fma(a.sum32(m, k), splat(static_cast<float>(-F::offset)), dot);  // exact: below 2^24
        result[m][v] = fma(dot, d, result[m][v]);
        if constexpr (traits::has_min)
          result[m][v] = fma(a.sum32(m, k), widen_halves(super.m(b) + halves), result[m][v]);
      }
    }
  }
}

// C[MR][NR] (rows of NR floats) += the chunk's super-groups. `quants` has the chunk's quants as Source reads them.
template <quant_format F, class Source, int MR>
TEGULA_NOINLINE void exact_kernel(const a_rows& a, const weight_chunk<F>& w, const std::byte* quants, float* c) noexcept {
  constexpr int Vectors = MR <= wide_rows ? panel_vectors : 1;
  constexpr index_t super_k = t::traits<F>::super_k;
  for (int vector = 0; vector < panel_vectors; vector += Vectors) {
    vf32 sums[MR][Vectors];
    TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) { sums[m][v] = load<vf32>(c + m * t::NR + (vector + v) * lanes); }
    }
    for (index_t s = w.first; s < w.last; ++s) {
      const auto super = super_group_at<F>(w.panel, s, w.K);
      const std::byte* source = quants;
      if constexpr (std::is_same_v<Source, packed_source<F>>) source = super.base;
      else source += static_cast<std::size_t>(s - w.first) * t::traits<F>::super_blocks * Source::block_stride;
      vf32 result[MR][Vectors];
      exact_super<F, Source>(a, s * super_k, super, source, vector, result);
      TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
        const vf32 scale = a.scale(m, s * super_k);
        TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) { sums[m][v] = fma(result[m][v], scale, sums[m][v]); }
      }
    }
    TEGULA_UNROLL for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL for (int v = 0; v < Vectors; ++v) { store(c + m * t::NR + (vector + v) * lanes, sums[m][v]); }
    }
  }
}
