// Micro-kernels of exact mode for quantized weights:
//
//   integer_scales, per 256:  t = S * d;  t = fma(-I, dmin, t);  C = fma(t, da, C)     S, I: integer sums over the 256
//   float_scales, per 128:    t = fma(S_g, d_g, t);  t = fma(I_g, m_g, t)  for 4 blocks from t = 0;  C = fma(t, da, C)
//
// with super-groups of K ascending: the one order (docs/numerics.md). Rows of A: MR of one block; columns: Vectors vectors, which may
// span panels. Registers: MR x Vectors partial sums, and as many sums if there are registers; C stays in memory. A step loads
// MR + Vectors operands for MR x Vectors products. Bound: the dot products, NR * K / (4 * lanes) a row, their scaling, and
// unpacking, which rows share.

// Rows of a block of A, from row `first` on, over the 256 of K that hold k0: where row 0's data for k0 stand.
class a_rows {
 public:
  TEGULA_INLINE a_rows(const t::a_block& block, index_t first, index_t k0)
      : tile_stride_(static_cast<std::size_t>(block.tile_stride())), group_(static_cast<int>(k0 % t::scale_k) / 32) {
    const index_t row = k0 / t::scale_k * block.rows + first;
    tiles_ = opaque(block.tiles + k0 / 64 * block.tile_stride() + first * t::row_bytes);
    scales_ = block.scales + row;
    sums32_ = block.sums32 + row * t::sums32_per_scale + group_;
    sums16_ = block.sums16 + row * t::sums16_per_scale;
    sums_ = block.sums + row;
  }

  // Row 0's quants from k on, counted from k0, to the end of its 64; the next row's are row_bytes further.
  [[nodiscard]] TEGULA_INLINE const std::byte* quants(std::size_t k) const { return tiles_ + k / 64 * tile_stride_ + k % 64; }
  [[nodiscard]] TEGULA_INLINE vf32 scale(int m) const { return splat(scales_[m]); }
  [[nodiscard]] TEGULA_INLINE vf32 sum32(int m, std::size_t g) const {
    return splat(sums32_[static_cast<std::size_t>(m * t::sums32_per_scale) + g]);
  }
  [[nodiscard]] TEGULA_INLINE vf32 sum16(int m, int g) const { return splat(sums16_[m * t::sums16_per_scale + g]); }
  [[nodiscard]] TEGULA_INLINE vi32 sum_pair(int m, int pair) const { return vi32(splat_word(&sums_[m].sums32[2 * pair])); }
  [[nodiscard]] TEGULA_INLINE vi32 offset32(int m, std::size_t g) const {
    return vi32(splat_word(&sums_[m].offsets32[static_cast<std::size_t>(group_) + g]));
  }
  [[nodiscard]] TEGULA_INLINE vi32 offset256(int m) const { return vi32(splat_word(&sums_[m].offset256)); }
  // In the low half of each lane; the high half is arbitrary.
  [[nodiscard]] TEGULA_INLINE vi32 offset8(int m, int g) const { return vi32(splat_word(&sums_[m].offsets8[g])); }

 private:
  const std::byte* tiles_;
  std::size_t tile_stride_;
  const float *scales_, *sums32_, *sums16_;
  const t::integer_sums* sums_;
  int group_;  // of 32 within the 256, where k0 stands
};

// Dot products of a group: rows `row` .. of a block, quads of A from k on. At most Steps rows go to one chain of partial sums, which
// start(partial, m, row in the group) starts and flush(m, v, partial) takes.
template <quant_format F, int Steps, int MR, int Vectors, class Weights, class Start, class Flush>
TEGULA_INLINE void group_dots(const a_rows& a, std::size_t k, Weights& w, std::size_t block, int row, Start start, Flush flush) {
  const std::byte* quads = opaque(a.quants(k));  // a group never crosses a k-tile
  w.fetch(block, row);
  constexpr int group_rows = F::group_k / 4, chain = Steps < Weights::chain_rows ? Steps : Weights::chain_rows;
  TEGULA_UNROLL
  for (int first = 0; first < group_rows; first += chain) {
    dot_of<F> partial[MR][Vectors];
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) start(partial[m][v], m, first);
    }
    TEGULA_UNROLL
    for (int r = first; r < (first + chain < group_rows ? first + chain : group_rows); ++r) {
      vu32 quants[Vectors];
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) quants[v] = w.row(block, row + r, v);
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) {
        const vu32 activations = splat_word(quads + m * t::row_bytes + 4 * r);
        TEGULA_UNROLL
        for (int v = 0; v < Vectors; ++v) partial[m][v].add(quants[v], activations);
      }
    }
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        if constexpr (Weights::in_place) partial[m][v].shift(Weights::row_shift(row + first));
        flush(m, v, partial[m][v]);
      }
    }
  }
}

// Groups whose quants stand in the same stored rows, half of K apart or more: one load serves all.
template <quant_format F>
inline constexpr int sharing_groups = F::planes.size() == 1 ? 8 / F::planes[0].bits : 1;

// Calls function(g) for all groups of a block. Packed weights are unrolled, as g selects fields to extract, and groups that share
// stored rows follow each other; unpacked ones are looped over.
template <quant_format F, class Weights, class Function>
TEGULA_INLINE void for_each_group(Function function) {
  constexpr int groups = t::traits<F>::groups;
  if constexpr (Weights::unpacked) {
#pragma GCC unroll 1
    for (int g = 0; g < groups; ++g) function(g);
  } else {
    constexpr int shared = sharing_groups<F>;
    TEGULA_UNROLL
    for (int i = 0; i < groups; ++i) {
      function(i % shared * (groups / shared) + i / shared);
    }
  }
}

// Calls function(b) for the blocks of a super-group. Packed weights of a whole one are unrolled: what is read stands at constant
// distances then, and few rows have no time for addresses.
template <quant_format F, class Weights, class Function>
TEGULA_INLINE void for_each_block(std::size_t blocks, Function function) {
  constexpr std::size_t all = t::traits<F>::super_blocks;
  if constexpr (Weights::whole) {
    TEGULA_UNROLL
    for (std::size_t b = 0; b < all; ++b) {
      function(b);
    }
  } else {
#pragma GCC unroll 1
    for (std::size_t b = 0; b < blocks; ++b) function(b);
  }
}

// S of MR x Vectors.
template <integer_scales F, class Weights, int MR, int Vectors>
TEGULA_INLINE void scaled_sums(const a_rows& a, Weights& w, vi32 (&sums)[MR][Vectors]) {
  using dot = dot_of<F>;
  if constexpr (F::offset != 0 && !dot::starts_at_offset) {  // sum of scale * offset * a: exact in float, below 2^24
    static_assert(F::group_k == 16, "which group sums to use");
    vf32 offsets[MR][Vectors] = {};
    for_each_group<F, Weights>([&](int g) TEGULA_LAMBDA_INLINE {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const vf32 scale = to_float(w.plain_scale(g, v));
        TEGULA_UNROLL
        for (int m = 0; m < MR; ++m) offsets[m][v] = fma(a.sum16(m, g), scale, offsets[m][v]);
      }
    });
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) sums[m][v] = round_to_int(offsets[m][v]) * -F::offset;
    }
  }
  for_each_group<F, Weights>([&](int g) TEGULA_LAMBDA_INLINE {
    vi32 scale[Vectors];
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) scale[v] = w.scale(g, v);
    group_dots<F, dot::steps, MR, Vectors>(
        a, static_cast<std::size_t>(F::group_k * g), w, 0, g * (F::group_k / 4),
        [&](dot& p, int m, int first) TEGULA_LAMBDA_INLINE {
          if constexpr (dot::starts_at_offset) p.sum = a.offset8(m, (g * F::group_k + 4 * first) / 8);
        },
        [&](int m, int v, const dot& p) TEGULA_LAMBDA_INLINE {
          sums[m][v] = p.scaled(sums[m][v], scale[v]);
          if constexpr (Weights::unpacked) leave_in_memory(sums[m][v]);
        });
  });
}

// Where vector v of a row of C stands: panels of C are an M block apart.
constexpr index_t c_column(int v) { return v / panel_vectors * c_stride + v % panel_vectors * lanes; }

// C[MR][NR] += a super-group's products.
template <integer_scales F, class Weights, int MR, int Vectors>
TEGULA_INLINE void add_super(const a_rows& a, Weights& w, std::size_t, float* c) {
  vi32 sums[MR][Vectors] = {};
  scaled_sums<F>(a, w, sums);
  TEGULA_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    const vf32 d = w.d(0, v);
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      vf32 result = to_float(sums[m][v]) * d;
      if constexpr (t::traits<F>::has_min) {
        static_assert(F::group_k == 32, "which group sums to use");
        vi32 minima{};
        TEGULA_UNROLL
        for (int p = 0; p < t::traits<F>::groups / 2; ++p) minima = add_pair_products(minima, w.minima(p, v), a.sum_pair(m, p));
        result = fma(-to_float(minima), w.m(0, v), result);
      }
      float* to = c + m * t::NR + c_column(v);
      store(to, fma(result, a.scale(m), load<vf32>(to)));
    }
  }
}

template <float_scales F, class Weights, int MR, int Vectors>
TEGULA_INLINE void add_super(const a_rows& a, Weights& w, std::size_t blocks, float* c) {
  using dot = dot_of<F>;
  constexpr bool offset = F::offset != 0 && !dot::starts_at_offset && !dot::offset_applied;
  vf32 results[MR][Vectors] = {};
  for_each_block<F, Weights>(blocks, [&](std::size_t b) TEGULA_LAMBDA_INLINE {
    vi32 sums[MR][Vectors] = {};
    group_dots<F, dot::unscaled_steps, MR, Vectors>(
        a, 32 * b, w, b, 0,
        [&](dot& p, int m, int first) TEGULA_LAMBDA_INLINE {
          if constexpr (dot::starts_at_offset)
            if (Weights::row_shift(first) == 0) p.sum = a.offset32(m, b);
        },
        [&](int m, int v, const dot& p) TEGULA_LAMBDA_INLINE { sums[m][v] = p.total(sums[m][v]); });
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const vf32 d = w.d(b, v);
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) {
        vf32 dots = to_float(sums[m][v]);
        if constexpr (offset) dots = fma(a.sum32(m, b), splat(static_cast<float>(-F::offset)), dots);  // exact: below 2^24
        results[m][v] = fma(dots, d, results[m][v]);
        if constexpr (t::traits<F>::has_min) results[m][v] = fma(a.sum32(m, b), w.m(b, v), results[m][v]);
        if constexpr (Weights::unpacked) leave_in_memory(results[m][v]);
      }
    }
  });
  constexpr float unit = Weights::unpacked ? 1.f : 1.f / (1 << quant_lift<F>);  // unpacked, it is in d
  TEGULA_UNROLL
  for (int m = 0; m < MR; ++m) {
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      float* to = c + m * t::NR + c_column(v);
      store(to, fma(unit == 1.f ? results[m][v] : results[m][v] * splat(unit), a.scale(m), load<vf32>(to)));
    }
  }
}

// All of K straight from the packed panel. C stays in registers: a store for each super-group costs a tenth of the memory's speed.
template <quant_format F, int MR>
TEGULA_NOINLINE void exact_packed_kernel(const t::a_block& block, index_t row, const std::byte* panel, index_t K, float* c) noexcept {
  constexpr int Vectors = MR <= wide_rows ? panel_vectors : 1;
  constexpr index_t super_k = t::traits<F>::super_k;
  for (int vector = 0; vector < panel_vectors; vector += Vectors) {
    alignas(64) float sums[MR * t::NR];
    const auto sum = [&](int m, int v) TEGULA_LAMBDA_INLINE { return sums + m * t::NR + v * lanes; };
    const auto add = [&](index_t s, auto whole) TEGULA_LAMBDA_INLINE {
      super_group<F> super = super_group_at<F>(panel, s, K);
      if constexpr (whole()) super.blocks = t::traits<F>::super_blocks;
      packed_weights<F, Vectors, (MR <= in_place_rows), whole()> weights(super, vector);
      add_super<F, decltype(weights), MR, Vectors>(a_rows(block, row, s * super_k), weights, super.blocks, sums);
    };
    for_each_vector<MR, Vectors>(c + vector * lanes,
                                 [&](int m, int v, float* at) TEGULA_LAMBDA_INLINE { store(sum(m, v), load<vf32>(at)); });
    for (index_t s = 0; s < K / super_k; ++s) add(s, std::true_type{});
    if (K % super_k != 0) add(K / super_k, std::false_type{});
    for_each_vector<MR, Vectors>(c + vector * lanes,
                                 [&](int m, int v, float* at) TEGULA_LAMBDA_INLINE { store(at, load<vf32>(sum(m, v))); });
  }
}

// A chunk of K of one panel, or of as many as exact_vectors fill: super-groups first .. last - 1, unpacked, [panel][super-group].
template <quant_format F>
struct unpacked_chunk {
  static constexpr index_t supers_of_panel = exact_chunk_k / t::traits<F>::super_k;

  unpacked_super<F> supers[exact_panels * supers_of_panel];
  index_t first, last;

  void unpack(const std::byte* panel, int count, index_t K) {
    for (int i = 0; i < count; ++i, panel += t::panel_layout<F>::panel_bytes(K))
      for (index_t s = first; s < last; ++s) supers[i * supers_of_panel + s - first].unpack(super_group_at<F>(panel, s, K));
  }
};

template <quant_format F, int Panels>
TEGULA_NOINLINE void exact_unpacked_kernel(const t::a_block& block, index_t row, const unpacked_chunk<F>& chunk, index_t K,
                                           float* c) noexcept {
  constexpr int Vectors = Panels * panel_vectors < exact_vectors ? Panels * panel_vectors : exact_vectors;
  constexpr index_t super_k = t::traits<F>::super_k;
  for (int vector = 0; vector < Panels * panel_vectors; vector += Vectors)
    for (index_t s = chunk.first; s < chunk.last; ++s) {
      unpacked_weights<F, Vectors> weights(chunk.supers + (s - chunk.first), chunk.supers_of_panel, vector);
      add_super<F, decltype(weights), exact_rows, Vectors>(a_rows(block, row, s * super_k), weights, t::panel_layout<F>::super_blocks(s, K),
                                                           c + vector * lanes);
    }
}
