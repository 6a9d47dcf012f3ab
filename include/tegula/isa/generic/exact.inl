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
    offsets16_ = block.offsets16 + row * 2 * t::sums16_per_scale;
    negatives32_ = block.negatives32 + row * t::sums32_per_scale + group_;
    halves32_ = block.halves32 + row * t::sums32_per_scale;
    offsets32_ = block.offsets32 + row * t::sums32_per_scale + group_;
    offsets8_ = block.offsets8 + row * t::sums8_per_scale;
    offset256_ = block.offset256 + row;
  }

  // Row 0's quants from k on, counted from k0, to the end of its 64; the next row's are row_bytes further.
  [[nodiscard]] TEGULA_INLINE const std::byte* quants(std::size_t k) const { return tiles_ + k / 64 * tile_stride_ + k % 64; }
  [[nodiscard]] TEGULA_INLINE vf32 scale(int m) const { return splat(scales_[m]); }
  [[nodiscard]] TEGULA_INLINE vf32 sum32(int m, std::size_t g) const {
    return splat(sums32_[static_cast<std::size_t>(m * t::sums32_per_scale) + g]);
  }
  [[nodiscard]] TEGULA_INLINE vi32 sum_pair(int m, int pair) const {
    return vi32(splat_word(&halves32_[m * t::sums32_per_scale + 2 * pair]));
  }
  [[nodiscard]] TEGULA_INLINE vi32 offset32(int m, std::size_t g) const {
    return vi32(splat_word(&offsets32_[static_cast<std::size_t>(m * t::sums32_per_scale) + g]));
  }
  [[nodiscard]] TEGULA_INLINE vi32 offset256(int m) const { return vi32(splat_word(&offset256_[m])); }
  [[nodiscard]] TEGULA_INLINE vi32 negatives32(int m, std::size_t g) const {
    return vi32(splat_word(&negatives32_[static_cast<std::size_t>(m * t::sums32_per_scale) + g]));
  }
  // What an offset of 32 adds to the products of a few rows of a group of 16, as partial_dot starts from it. With Of = 8 in the low half
  // of each lane, the high half is arbitrary; with Of = 16 in both.
  template <int Of>
  [[nodiscard]] TEGULA_INLINE vi32 offset(int m, int k) const {
    if constexpr (Of == 8) return vi32(splat_word(&offsets8_[m * t::sums8_per_scale + k / 8]));
    else return vi32(splat_word(&offsets16_[m * 2 * t::sums16_per_scale + k / 8]));
  }

  // MR rows whose 128 quants from k0 on are split by Dot, in `buffer`: for each 64 bytes two rows of bytes.
  template <class Dot, int MR>
  [[nodiscard]] TEGULA_INLINE a_rows split(std::byte* buffer) const {
    for (int i = 0; i < 2 * MR; ++i) {
      const std::byte* from = tiles_ + static_cast<std::size_t>(i / MR) * tile_stride_ + i % MR * t::row_bytes;
      std::byte* to = buffer + 2 * i * t::row_bytes;
      TEGULA_UNROLL
      for (int j = 0; j < t::row_bytes; j += 4 * lanes) {
        const auto parts = Dot::split(load<vu32>(from + j));
        store(to + j, parts.magnitudes);
        store(to + t::row_bytes + j, parts.flips);
      }
    }
    a_rows rows = *this;
    rows.tiles_ = buffer;
    rows.tile_stride_ = 2 * MR * t::row_bytes;
    return rows;
  }

 private:
  const std::byte* tiles_;
  std::size_t tile_stride_;
  const float *scales_, *sums32_;
  const std::int16_t *halves32_, *offsets16_, *offsets8_;
  const std::int32_t *offsets32_, *negatives32_, *offset256_;
  int group_;  // of 32 within the 256, where k0 stands
};

// What products with F read of A besides quants and scales.
template <quant_format F>
inline constexpr t::a_parts exact_parts = [] {
  using dot = dot_of<F>;
  t::a_parts parts = t::traits<F>::has_min ? integer_scales<F> ? t::a_part::halves32 : t::a_part::sums32 : 0;
  if constexpr (F::offset != 0) {
    if constexpr (integer_scales<F>) parts |= dot::offset_k == 8 ? t::a_part::offsets8 : t::a_part::offsets16;
    else if (dot::splits_activations) parts |= t::a_part::negatives32;
    else if (dot::starts_at_offset) parts |= t::a_part::offsets32;
    else if (!dot::offset_applied) parts |= t::a_part::sums32;
  }
  return parts;
}();

// Four activations, in every lane, as Dot multiplies with them.
template <class Dot>
TEGULA_INLINE auto load_activations(const std::byte* quad) {
  if constexpr (Dot::splits_activations) return typename Dot::split_bytes{splat_word(quad), splat_word(quad + t::row_bytes)};
  else return splat_word(quad);
}

// From a row's quants to the next row's.
template <quant_format F>
inline constexpr int a_row_bytes = dot_of<F>::splits_activations ? 2 * t::row_bytes : t::row_bytes;

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
    const int last = first + chain < group_rows ? first + chain : group_rows;
    TEGULA_UNROLL
    for (int i = first; i < last; ++i) {
      const int r = Weights::nth_row(i);
      vu32 quants[Vectors];
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) quants[v] = w.row(block, row + r, v);
      // Sums go to where the next row stands, in the end to where they belong.
      const int shift = Weights::row_shift(row + r) - (i + 1 < last ? Weights::row_shift(row + Weights::nth_row(i + 1)) : 0);
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) {
        const auto activations = load_activations<dot_of<F>>(quads + m * a_row_bytes<F> + 4 * r);
        TEGULA_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          partial[m][v].add(quants[v], activations);
          if constexpr (Weights::in_place) partial[m][v].shift(shift);
        }
      }
    }
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) flush(m, v, partial[m][v]);
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

// Sums over a super-group are touched once a group: with 8 of them, partial sums get the registers.
template <int MR, int Vectors, class V>
TEGULA_INLINE void yield_register(V& sum) {
  if constexpr (MR * Vectors >= 8) leave_in_memory(sum);
}

template <int MR, int Vectors, class V>
TEGULA_INLINE void clear(V (&sums)[MR][Vectors]) {
  for_each_vector<MR, Vectors>([&](int m, int v) TEGULA_LAMBDA_INLINE {
    sums[m][v] = V{};
    yield_register<MR, Vectors>(sums[m][v]);
  });
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
  for_each_group<F, Weights>([&](int g) TEGULA_LAMBDA_INLINE {
    vi32 scale[Vectors];
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) scale[v] = w.scale(g, v);
    group_dots<F, dot::steps, MR, Vectors>(
        a, static_cast<std::size_t>(F::group_k * g), w, 0, g * (F::group_k / 4),
        [&](dot& p, int m, int first) TEGULA_LAMBDA_INLINE {
          static_assert(F::offset == 0 || F::offset == 32, "which offsets to use");
          if constexpr (F::offset != 0) p.start(a.offset<dot::offset_k>(m, g * F::group_k + 4 * first));
        },
        [&](int m, int v, const dot& p) TEGULA_LAMBDA_INLINE {
          sums[m][v] = p.scaled(sums[m][v], scale[v]);
          yield_register<MR, Vectors>(sums[m][v]);
        });
  });
}

// Where vector v of a row of C stands: panels of C are an M block apart.
constexpr index_t c_column(int v) { return v / panel_vectors * c_stride + v % panel_vectors * lanes; }

// C[MR][NR] += a super-group's products.
template <integer_scales F, class Weights, int MR, int Vectors>
TEGULA_INLINE void add_super(const a_rows& a, Weights& w, std::size_t, float* c) {
  vi32 sums[MR][Vectors];
  clear(sums);
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
TEGULA_INLINE void add_super(a_rows a, Weights& w, std::size_t blocks, float* c) {
  using dot = dot_of<F>;
  alignas(64) std::byte split[dot::splits_activations ? 4 * MR * t::row_bytes : 1];
  if constexpr (dot::splits_activations) a = a.split<dot, MR>(split);
  constexpr bool offset = F::offset != 0 && !dot::starts_at_offset && !dot::offset_applied, has_min = t::traits<F>::has_min;
  vf32 results[MR][Vectors];
  clear(results);
  for_each_block<F, Weights>(blocks, [&](std::size_t b) TEGULA_LAMBDA_INLINE {
    vi32 sums[MR][Vectors] = {};
    group_dots<F, dot::unscaled_steps, MR, Vectors>(
        a, 32 * b, w, b, 0,
        [&](dot& p, int m, int first) TEGULA_LAMBDA_INLINE {
          if constexpr (dot::starts_at_offset)
            if (Weights::row_shift(first) == 0) p.sum = a.offset32(m, b);
          if constexpr (dot::splits_activations) p.start(a.negatives32(m, b));
        },
        [&](int m, int v, const dot& p) TEGULA_LAMBDA_INLINE { sums[m][v] = p.total(sums[m][v]); });
    vf32 d[Vectors], minima[Vectors];
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      d[v] = w.d(b, v);
      if constexpr (has_min) minima[v] = w.m(b, v);
    }
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      vf32 a_sum;
      if constexpr (offset || has_min) a_sum = a.sum32(m, b);
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        vf32 dots = to_float(sums[m][v]);
        if constexpr (offset) dots = fma(a_sum, splat(static_cast<float>(-F::offset)), dots);  // exact: below 2^24
        results[m][v] = fma(dots, d[v], results[m][v]);
        if constexpr (has_min) results[m][v] = fma(a_sum, minima[v], results[m][v]);
        yield_register<MR, Vectors>(results[m][v]);
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

// Rows of A that are multiplied by packed weights at a time, and vectors of columns that MR of them take: with more than 8 sums for a whole
// panel in the longest strip, one, but for the few rows that memory is read for.
template <quant_format F>
inline constexpr int most_of_strip = packed_strip(t::traits<F>::bits, F::planes.size(), integer_scales<F>);
template <quant_format F, int MR>
inline constexpr int packed_vectors = MR > 2 && panel_vectors * most_of_strip<F> > 8 ? 1 : panel_vectors;

// C[MR][NR] += super-group s, straight from its packed form.
template <quant_format F, int MR, bool Whole>
TEGULA_INLINE void add_packed(const t::a_block& block, index_t row, index_t s, super_group<F> super, std::size_t ahead, float* c) {
  if constexpr (Whole) super.blocks = t::traits<F>::super_blocks;
  constexpr int vectors = packed_vectors<F, MR>;
  // No pragma here: with "unroll 1", as unrolled, g++ 12 moves so much out of the loop that Q5_K's 6 rows take 4 times as long.
  for (int v = 0; v < panel_vectors; v += vectors) {
    packed_weights<F, vectors, (MR <= in_place_rows), Whole> weights(super, v, v == 0 ? ahead : 0);
    add_super<F, decltype(weights), MR, vectors>(a_rows(block, row, s * t::traits<F>::super_k), weights, super.blocks, c + v * lanes);
  }
}

// add(sums), with sums[MR][NR] in place of C: they stay in registers. A store to C for each super-group costs a tenth of the memory's
// speed.
template <int MR, class Add>
TEGULA_INLINE void sum_aside(float* c, Add add) {
  alignas(64) float sums[MR * t::NR];
  const auto copy = [](const float* from, float* to) TEGULA_LAMBDA_INLINE {
    TEGULA_UNROLL
    for (int i = 0; i < MR * t::NR; i += lanes) store(to + i, load<vf32>(from + i));
  };
  copy(c, sums);
  add(sums);
  copy(sums, c);
}

// All of K straight from the packed panel.
template <quant_format F, int MR>
TEGULA_NOINLINE void exact_packed_kernel(const t::a_block& block, index_t row, const std::byte* panel, index_t K, float* c) noexcept {
  constexpr index_t super_k = t::traits<F>::super_k;
  const std::size_t ahead = fetch_distance<F>();
  sum_aside<MR>(c, [&](float* sums) TEGULA_LAMBDA_INLINE {
    for (index_t s = 0; s < K / super_k; ++s) add_packed<F, MR, true>(block, row, s, super_group_at<F>(panel, s, K), ahead, sums);
    if (const index_t s = K / super_k; K % super_k != 0)
      add_packed<F, MR, false>(block, row, s, super_group_at<F>(panel, s, K), ahead, sums);
  });
}

// A chunk of K of one panel, or of as many as exact_vectors fill: super-groups first .. last - 1, unpacked, [panel][super-group].
template <quant_format F>
struct unpacked_chunk {
  using layout = t::panel_layout<F>;
  static constexpr index_t supers_of_panel = exact_chunk_k / t::traits<F>::super_k;
  static constexpr std::size_t bytes_of_panel = layout::super_at(supers_of_panel);

  unpacked_super<F> supers[exact_panels * supers_of_panel];
  index_t first, last;

  void unpack(const std::byte* panel, int count, index_t K) {
    for (int i = 0; i < count; ++i, panel += layout::panel_bytes(K))
      for (index_t s = first; s < last; ++s) supers[i * supers_of_panel + s - first].unpack(super_group_at<F>(panel, s, K));
  }

  // Where the next chunk of the first of `count` panels stands, or of the panels behind them.
  [[nodiscard]] const std::byte* next(const std::byte* panel, int count, index_t K) const {
    if (last * t::traits<F>::super_k < K) return panel + layout::super_at(last);
    return panel + static_cast<std::size_t>(count) * layout::panel_bytes(K);
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
