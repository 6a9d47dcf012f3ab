// Micro-kernels of exact mode for quantized weights:
//
//   integer_scales, per 256:  t = S * d;  t = fma(-I, dmin, t);  C = fma(t, da, C)     S, I: integer sums over the 256
//   float_scales, per 128:    t = fma(S_g, d_g, t);  t = fma(I_g, m_g, t)  for 4 blocks from t = 0;  C = fma(t, da, C)
//
// with super-groups of K ascending: the one order (docs/numerics.md). Rows of A: MR <= max_rows of one block, columns: Vectors
// vectors of one panel. Registers: MR x Vectors each of C, sums and partial sums. Bound: the dot products,
// NR * K / (4 * lanes) a row, and unpacking, which MR rows share.

// MR rows of a block of A, from row `first` on: where row 0's data for k stand, and the step to the next row. Offsets are
// unsigned, so that / and % are shifts and masks.
class a_rows {
 public:
  static constexpr int quads_step = t::row_bytes, sums32_step = t::sums32_per_scale, sums16_step = t::sums16_per_scale;

  TEGULA_INLINE a_rows(const t::a_block& block, index_t first)
      : tiles_(block.tiles + first * quads_step),
        scales_(block.scales + first),
        offsets_(block.offsets + first),
        sums32_(block.sums32 + first * sums32_step),
        sums16_(block.sums16 + first * sums16_step),
        rows_(static_cast<std::size_t>(block.rows)) {}

  [[nodiscard]] TEGULA_INLINE const std::byte* quads(std::size_t k) const { return tiles_ + k / 64 * rows_ * quads_step + k % 64; }
  [[nodiscard]] TEGULA_INLINE const float* scales(std::size_t k) const { return scales_ + k / t::scale_k * rows_; }
  [[nodiscard]] TEGULA_INLINE const std::int32_t* offsets(std::size_t k) const { return offsets_ + k / t::scale_k * rows_; }
  [[nodiscard]] TEGULA_INLINE const float* sums32(std::size_t k) const {
    return sums32_ + k / t::scale_k * rows_ * sums32_step + k % t::scale_k / 32;
  }
  [[nodiscard]] TEGULA_INLINE const float* sums16(std::size_t k) const {
    return sums16_ + k / t::scale_k * rows_ * sums16_step + k % t::scale_k / 16;
  }

 private:
  const std::byte* tiles_;
  const float* scales_;
  const std::int32_t* offsets_;
  const float *sums32_, *sums16_;
  std::size_t rows_;  // of the whole block: what its layout steps by
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
TEGULA_INLINE void group_dots(const a_rows& a, std::size_t k, const std::byte* block, int row, Flush flush) {
  constexpr int group_rows = F::group_k / 4;
  const std::byte* quads = a.quads(k);  // a group never crosses a k-tile
  TEGULA_UNROLL
  for (int first = 0; first < group_rows; first += Steps) {
    Partial partial[MR][Vectors];
    TEGULA_UNROLL
    for (int r = first; r < (first + Steps < group_rows ? first + Steps : group_rows); ++r) {
      vu32 quants[Vectors];
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) quants[v] = Source::row(block + v * lanes * 4, row + r);
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) {
        const vu32 activations = splat_word(quads + m * a_rows::quads_step + 4 * r);
        TEGULA_UNROLL
        for (int v = 0; v < Vectors; ++v) partial[m][v].add(quants[v], activations);
      }
    }
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) flush(m, v, partial[m][v]);
    }
  }
}

// Calls function(g) for all groups of a block: unrolled where the row's number selects the field to extract, looped elsewhere.
template <class F, class Source, class Function>
TEGULA_INLINE void for_each_group(Function function) {
  if constexpr (std::is_same_v<Source, packed_source<F>>) {
    TEGULA_UNROLL
    for (int g = 0; g < t::traits<F>::groups; ++g) {
      function(g);
    }
  } else {
#pragma GCC unroll 1
    for (int g = 0; g < t::traits<F>::groups; ++g) function(g);
  }
}

// The integer scales of a block, for Vectors vectors of columns: group g's in every lane.
template <integer_scales F, class Source, int Vectors>
class group_scales {
 public:
  TEGULA_INLINE group_scales(const super_group<F>& super, int vector) {
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const scale_words<F> words(super, vector + v);
      TEGULA_UNROLL
      for (int q = 0; q < groups / 4; ++q) {
        quads_[q][v] = words.scales(q);
        if constexpr (t::traits<F>::has_min) minima_[q][v] = words.minima(q);
      }
      if constexpr (looped) {
        TEGULA_UNROLL
        for (int g = 0; g < groups; ++g) scales_[g][v] = byte_of<F::signed_scales>(quads_[g / 4][v], g % 4);
      }
    }
  }
  [[nodiscard]] TEGULA_INLINE vi32 scale(int g, int v) const {
    if constexpr (looped) return scales_[g][v];
    else return byte_of<F::signed_scales>(quads_[g / 4][v], g % 4);
  }
  // For an unrolled g only.
  [[nodiscard]] TEGULA_INLINE vf32 minimum(int g, int v) const { return to_float(byte_of<false>(minima_[g / 4][v], g % 4)); }

 private:
  static constexpr int groups = t::traits<F>::groups;
  static constexpr bool looped = !std::is_same_v<Source, packed_source<F>>;  // then g is no constant and selects from memory
  vu32 quads_[groups / 4][Vectors], minima_[groups / 4][Vectors];
  vi32 scales_[looped ? groups : 1][Vectors];
};

// One super-group: t for MR x Vectors.
template <integer_scales F, class Source, int MR, int Vectors>
TEGULA_INLINE void exact_super(const a_rows& a, std::size_t k0, const super_group<F>& super, const std::byte* quants, int vector,
                               vf32 (&result)[MR][Vectors]) {
  using traits = t::traits<F>;
  using partial = partial_dot<traits::max_quant, F::group_k>;
  const group_scales<F, Source, Vectors> scales(super, vector);

  vi32 sums[MR][Vectors] = {};
  if constexpr (F::offset != 0) {  // sum of scale * offset * a: exact in float, as every partial sum is below 2^24
    static_assert(F::group_k == 16, "which group sums to use");
    const float* group_sums = a.sums16(k0);
    vf32 offsets[MR][Vectors] = {};
    for_each_group<F, Source>([&](int g) TEGULA_LAMBDA_INLINE {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const vf32 scale = to_float(scales.scale(g, v));
        TEGULA_UNROLL
        for (int m = 0; m < MR; ++m) offsets[m][v] = fma(splat(group_sums[m * a_rows::sums16_step + g]), scale, offsets[m][v]);
      }
    });
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) sums[m][v] = round_to_int(offsets[m][v]) * -F::offset;
    }
  }

  for_each_group<F, Source>([&](int g) TEGULA_LAMBDA_INLINE {
    vi32 operand[Vectors];
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) operand[v] = partial::scale_operand(scales.scale(g, v));
    group_dots<F, Source, partial, partial::steps, MR, Vectors>(
        a, k0 + static_cast<std::size_t>(F::group_k * g), quants + static_cast<std::size_t>(vector * lanes * 4), g * (F::group_k / 4),
        [&](int m, int v, const partial& p) TEGULA_LAMBDA_INLINE { sums[m][v] = p.scaled(sums[m][v], operand[v]); });
  });

  vf32 minimum_sums[MR][Vectors] = {};
  if constexpr (traits::has_min) {  // exact in float: below 2^24
    static_assert(F::group_k == 32, "which group sums to use");
    const float* group_sums = a.sums32(k0);
    TEGULA_UNROLL
    for (int g = 0; g < traits::groups; ++g) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const vf32 minimum = scales.minimum(g, v);
        TEGULA_UNROLL
        for (int m = 0; m < MR; ++m) minimum_sums[m][v] = fma(splat(group_sums[m * a_rows::sums32_step + g]), minimum, minimum_sums[m][v]);
      }
    }
  }
  TEGULA_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    const std::size_t halves = static_cast<std::size_t>((vector + v) * lanes * 2);
    const vf32 d = widen_halves(super.d(0) + halves);
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      result[m][v] = to_float(sums[m][v]) * d;
      if constexpr (traits::has_min) result[m][v] = fma(-minimum_sums[m][v], widen_halves(super.m(0) + halves), result[m][v]);
    }
  }
}

template <float_scales F, class Source, int MR, int Vectors>
TEGULA_INLINE void exact_super(const a_rows& a, std::size_t k0, const super_group<F>& super, const std::byte* quants, int vector,
                               vf32 (&result)[MR][Vectors]) {
  using traits = t::traits<F>;
  using partial = partial_dot<traits::max_quant, F::group_k>;
  constexpr bool offset = F::offset != 0 && !partial::offset_applied;
  TEGULA_UNROLL
  for (int m = 0; m < MR; ++m) {
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) result[m][v] = vf32{};
  }
  const float* group_sums = a.sums32(k0);
#pragma GCC unroll 1
  for (std::size_t b = 0; b < super.blocks; ++b) {
    vi32 sums[MR][Vectors] = {};
    group_dots<F, Source, partial, partial::unscaled_steps, MR, Vectors>(
        a, k0 + 32 * b, quants + b * Source::block_stride + static_cast<std::size_t>(vector * lanes * 4), 0,
        [&](int m, int v, const partial& p) TEGULA_LAMBDA_INLINE { sums[m][v] = p.total(sums[m][v]); });
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const std::size_t halves = static_cast<std::size_t>((vector + v) * lanes * 2);
      const vf32 d = widen_halves(super.d(b) + halves);
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) {
        const vf32 group_sum = splat(group_sums[static_cast<std::size_t>(m * a_rows::sums32_step) + b]);
        vf32 dot = to_float(sums[m][v]);
        if constexpr (offset) dot = fma(group_sum, splat(static_cast<float>(-F::offset)), dot);  // exact: below 2^24
        result[m][v] = fma(dot, d, result[m][v]);
        if constexpr (traits::has_min) result[m][v] = fma(group_sum, widen_halves(super.m(b) + halves), result[m][v]);
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
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        sums[m][v] = load<vf32>(c + m * t::NR + (vector + v) * lanes);
      }
    }
    for (index_t s = w.first; s < w.last; ++s) {
      const auto super = super_group_at<F>(w.panel, s, w.K);
      const std::byte* source = quants;
      if constexpr (std::is_same_v<Source, packed_source<F>>) source = super.quants(0);
      else source += static_cast<std::size_t>(s - w.first) * t::traits<F>::super_blocks * Source::block_stride;
      vf32 result[MR][Vectors];
      const std::size_t k = static_cast<std::size_t>(s * super_k);
      exact_super<F, Source>(a, k, super, source, vector, result);
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) {
        const vf32 scale = splat(a.scales(k)[m]);
        TEGULA_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          sums[m][v] = fma(result[m][v], scale, sums[m][v]);
        }
      }
    }
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        store(c + m * t::NR + (vector + v) * lanes, sums[m][v]);
      }
    }
  }
}
