// Exact mode with a float scale per 32 weights: every group's sum must leave the tiles, so a product spans 32 of K only. Tiles of
// A stay 64 wide; a tile of B has one group of the two and zeros, and both come from one padded run of memory:
//
//   [ group 0: 8 rows ][ zeros: 8 rows ][ group 1: 8 rows ]     B0 at row 0: (group 0, 0)     B1 at row 8: (0, group 1)
//
// Drained per super-group of 128:  t = fma(S_g, d_g, t);  t = fma(I_g, m_g, t)  over 4 groups from t = 0;  C = fma(t, da, C).
// Included inside namespace tegula::amx and its target region.
//
// Bound, cycles per 16 x 16 x 256: the drain, (4 cvt + 4 fma + 1 fma) x 2 a row = 144 (with minima 208) vector; TMUL 128.

inline constexpr int group_tile_rows = 8;
inline constexpr index_t padded_groups_bytes = 3 * group_tile_rows * tile_row_bytes;  // of two groups

// B of one super-group, unpacked; groups that a short one lacks are zero.
struct group_tiles {
  alignas(64) std::byte groups[2 * padded_groups_bytes];
  alignas(64) float d[4][t::NR];
  alignas(64) float m[4][t::NR];

  [[nodiscard]] TEGULA_INLINE const std::byte* tile(int k_tile, int group) const {
    return groups + k_tile * padded_groups_bytes + group * group_tile_rows * tile_row_bytes;
  }
};

template <float_scales F>
TEGULA_NOINLINE void unpack_groups(const super_group<F>& super, group_tiles& b) noexcept {
  typedef std::uint8_t vu8 __attribute__((vector_size(64)));
  __builtin_memset(&b, 0, sizeof b);
  for (std::size_t g = 0; g < super.blocks; ++g) {
    std::byte* rows = b.groups + static_cast<index_t>(g / 2) * padded_groups_bytes + static_cast<index_t>(g % 2) * tile_bytes;
    TEGULA_UNROLL
    for (int r = 0; r < group_tile_rows; ++r) {
      const vu32 quants = quant_row<F>(super.quants(g), r);
      store(rows + r * tile_row_bytes, vu8(quants) - static_cast<std::uint8_t>(F::offset));
    }
    store(b.d[g], widen_halves(super.d(g)));
    if constexpr (t::traits<F>::has_min) store(b.m[g], widen_halves(super.m(g)));
  }
}

// Stored sums of the four groups of 32 rows.
struct group_scratch {
  alignas(64) std::int32_t tile[4][2][256];  // [group][rows 0 - 15, 16 - 31]
};
struct group_drain {
  float* c;
  const float* da[2];
  const float* sums32[2];  // of the four groups, a row's next to each other
  const group_tiles* b;
};

template <bool Minima>
TEGULA_INLINE void drain_groups(const group_drain& to, const group_scratch& from, int first, int last) {
  vf32 d[4], m[4];
  TEGULA_UNROLL
  for (int g = 0; g < 4; ++g) {
    d[g] = in_register(load<vf32>(to.b->d[g]));
    if constexpr (Minima) m[g] = in_register(load<vf32>(to.b->m[g]));
  }
  TEGULA_UNROLL
  for (int r = first; r < last; ++r) {
    const int i = r / tile_rows, row = r % tile_rows;
    vf32 sum{};
    TEGULA_UNROLL
    for (int g = 0; g < 4; ++g) {
      sum = fma(to_float(load<vi32>(from.tile[g][i] + row * t::NR)), d[g], sum);
      if constexpr (Minima) sum = fma(splat(to.sums32[i][row * t::sums32_per_scale + g]), m[g], sum);
    }
    float* c = to.c + r * t::NR;
    store(c, fma(sum, splat(to.da[i][row]), load<vf32>(c)));
  }
}

// One unit: 32 rows x 16 columns x 128, two tiles of K. The second tile's sums of the unit before go to `before_scratch` with the
// first products of this one, then all its rows are drained; `scratch` gets this unit's first tile meanwhile.
template <float_scales F>
TEGULA_INLINE void multiply_groups(const row_pair& a, index_t k, const group_tiles& b, group_scratch& scratch, const group_drain& before,
                                   group_scratch& before_scratch) {
  const index_t k_tile = k / 64;
  unrolled<2>([&](auto step) TEGULA_LAMBDA_INLINE {
    constexpr int kt = step();
    auto& sums = kt == 0 ? before_scratch : scratch;
    constexpr int g = kt == 0 ? 2 : 0;  // the groups that the accumulators hold
    const auto drain = [&](int part) TEGULA_LAMBDA_INLINE {
      if constexpr (kt == 1) drain_groups<t::traits<F>::has_min>(before, before_scratch, part * 8, part * 8 + 8);
    };
    tile_load<4>(a.tile(0, k_tile + kt));
    tile_load<6>(b.tile(kt, 0));
    tile_store_and_zero<0>(sums.tile[g][0]);
    signed_bytes::multiply<0, 4, 6>();
    drain(0);
    tile_load<7>(b.tile(kt, 1));
    tile_store_and_zero<1>(sums.tile[g + 1][0]);
    signed_bytes::multiply<1, 4, 7>();
    drain(1);
    tile_load<5>(a.tile(1, k_tile + kt));
    tile_store_and_zero<2>(sums.tile[g][1]);
    signed_bytes::multiply<2, 5, 6>();
    drain(2);
    tile_store_and_zero<3>(sums.tile[g + 1][1]);
    signed_bytes::multiply<3, 5, 7>();
    drain(3);
  });
}

// Stores what the last unit left in the accumulators.
TEGULA_INLINE void finish_groups(group_scratch& scratch) {
  tile_store<0>(scratch.tile[2][0]);
  tile_store<1>(scratch.tile[3][0]);
  tile_store<2>(scratch.tile[2][1]);
  tile_store<3>(scratch.tile[3][1]);
}
