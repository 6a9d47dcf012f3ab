// Exact mode with a float scale per 32 weights: every group's sum must leave the tiles. The operands are integers as bf16, which
// holds them exactly, as f32 holds all their sums: one TDPBF16PS is one group, and its sum arrives as the float that the drain needs.
//
// Drained per 256, two super-groups of t = fma(S_g, d_g, t);  t = fma(I_g, m_g, t)  over 4 groups from t = 0;  C = fma(t, da, C).
// Included inside namespace tegula::amx and its target region.
//
// Bound, cycles per 16 x 16 x 256: loads 149, 8 tiles, 8 sums and C of every row; stores 144; TMUL 128; vector 80, with minima 144.

inline constexpr int unit_groups = t::scale_k / 32;
inline constexpr int supers_per_unit = unit_groups / 4;

// B of 256 of K of two panels, unpacked; groups behind K are zero.
struct group_scales {
  alignas(64) float d[2][unit_groups][t::NR];  // [panel][group]
  alignas(64) float m[2][unit_groups][t::NR];
};
struct group_tiles {
  alignas(64) std::byte quants[2][unit_groups][tile_bytes];  // [panel][group], row i: (k = i, k = i + 16)
  group_scales scales;
};

// quant - offset as bf16, for each quant of up to 5 bits.
template <float_scales F>
struct bf16_table {
  alignas(64) std::uint16_t of[32] = {};
  constexpr bf16_table() {
    for (int quant = 0; quant < 32; ++quant)
      of[quant] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(quant - F::offset)) >> 16);
  }
};

// Bytes j of `low` and of `high`, less the offset, as bf16 pairs.
template <float_scales F>
TEGULA_INLINE vu32 integer_pairs(vu32 low, vu32 high, int j) {
  if constexpr (t::traits<F>::max_quant < 32) {
    static constexpr bf16_table<F> table;
    const vu32 in_upper_half = j < 2 ? high << (16 - 8 * j) : high >> (8 * j - 16);
    const vu32 index = ((low >> (8 * j)) & 0xffffu) | (in_upper_half & 0xffff0000u);  // only the low 5 bits of each half count
    return vu32(_mm512_permutexvar_epi16(__m512i(index), __m512i(load<vu32>(table.of))));
  } else {
    return (vu32(byte_to_float(low, j, F::offset)) >> 16) | vu32(byte_to_float(high, j, F::offset));
  }
}

// Stored sums of two units, one that is multiplied and one that is drained. A quadrant is 16 rows of one panel, an accumulator.
// Quadrant q is drained beside the products of groups 2 q and 2 q + 1 of the next unit; what that stores afterwards needs no
// second place, which leaves 48 KiB in use.
struct group_scratch {
  alignas(64) float sums[2][4][unit_groups][tile_rows * t::NR];

  [[nodiscard]] TEGULA_INLINE float* at(int q, int g, index_t parity) { return sums[g > 2 * q ? 0 : parity][q][g]; }
};

// Drains quadrant q of a unit, a few rows at a time.
template <bool Minima>
struct quadrant_drain {
  float* c;
  const float *da, *sums32;
  const float* sums[unit_groups];
  vf32 d[unit_groups], m[unit_groups];

  TEGULA_INLINE quadrant_drain(const pending_unit<group_scales>& to, group_scratch& from, index_t parity, int q)
      : c(to.rows.c + q % 2 * c_stride + q / 2 * tile_rows * t::NR), da(to.rows.scales(q / 2, to.k)), sums32(to.rows.sums32(q / 2, to.k)) {
    TEGULA_UNROLL
    for (int g = 0; g < unit_groups; ++g) {
      sums[g] = from.at(q, g, parity);
      d[g] = in_register(load<vf32>(to.scales->d[q % 2][g]));
      if constexpr (Minima) m[g] = in_register(load<vf32>(to.scales->m[q % 2][g]));
    }
  }
  TEGULA_INLINE void rows(int first, int last) const {
    TEGULA_UNROLL
    for (int row = first; row < last; ++row) {
      vf32 result = load<vf32>(c + row * t::NR);
      TEGULA_UNROLL
      for (int super = 0; super < supers_per_unit; ++super) {
        vf32 sum{};
        TEGULA_UNROLL
        for (int g = 4 * super; g < 4 * super + 4; ++g) {
          sum = fma(load<vf32>(sums[g] + row * t::NR), d[g], sum);
          if constexpr (Minima) sum = fma(splat(sums32[row * t::sums32_per_scale + g]), m[g], sum);
        }
        result = fma(sum, splat(da[row]), result);
      }
      store(c + row * t::NR, result);
    }
  }
};

// A unit: 32 rows x 2 panels x 256. The sums of the last group of the unit before are stored with the first products of this one,
// then that unit is drained beside this one's products.
template <float_scales F>
struct group_kernel {
  using tiles = group_tiles;
  using scales = group_scales;
  using scratch = group_scratch;
  static constexpr t::a_parts reads = t::a_part::bf16_tiles | (t::traits<F>::has_min ? t::a_part::sums32 : 0);
  static constexpr index_t unit_k = t::scale_k, chunk = 4;
  static constexpr scales nothing{};

  // A step is a group of a panel.
  static constexpr index_t rides = unit_groups;
  static constexpr index_t unpack_steps(index_t) { return 2 * unit_groups; }
  struct unpacker {
    TEGULA_INLINE void step(const block_product& p, index_t unit, index_t i, tiles& b) const {
      const index_t panel = i / unit_groups, g = i % unit_groups;
      unpack(panel_of<F>(p, panel), p.K, unit * unit_groups + g, b.quants[panel][g], b.scales.d[panel][g], b.scales.m[panel][g]);
    }

   private:
    TEGULA_INLINE static void unpack(const std::byte* panel, index_t K, index_t i, std::byte* tile, float* d, float* m) {
      if (i >= K / F::block_k) {
        __builtin_memset(tile, 0, tile_bytes);
        store(d, vf32{});
        store(m, vf32{});
        return;
      }
      const packed_block<F> block(panel, K, i);
      TEGULA_UNROLL
      for (int r = 0; r < 4; ++r) {
        const vu32 low = quant_row<F>(block.rows, r), high = quant_row<F>(block.rows, r + 4);
        TEGULA_UNROLL
        for (int j = 0; j < 4; ++j) store(tile + (4 * r + j) * tile_row_bytes, integer_pairs<F>(low, high, j));
      }
      store(d, widen_halves(block.super.d(block.within)));
      if constexpr (t::traits<F>::has_min) store(m, widen_halves(block.super.m(block.within)));
    }
  };

  TEGULA_INLINE static void start(const row_pair&) {}

  template <class Ride>
  TEGULA_INLINE static void multiply(const block_product&, const row_pair& a, index_t k, const tiles& b, scratch& s, index_t parity,
                                     const pending_unit<scales>& before, Ride& ride) {
    unrolled<4>([&](auto quadrant) TEGULA_LAMBDA_INLINE {
      const quadrant_drain<t::traits<F>::has_min> drain(before, s, 1 - parity, quadrant());
      multiply_group<2 * quadrant()>(a, k, b, s, parity, drain, ride);
      multiply_group<2 * quadrant() + 1>(a, k, b, s, parity, drain, ride);
    });
  }

  TEGULA_INLINE static void finish(scratch& s, index_t parity, const pending_unit<scales>& last) {
    constexpr int stored = unit_groups - 1;
    tile_store<0>(s.at(0, stored, parity));
    tile_store<1>(s.at(1, stored, parity));
    tile_store<2>(s.at(2, stored, parity));
    tile_store<3>(s.at(3, stored, parity));
    for (int q = 0; q < 4; ++q) quadrant_drain<t::traits<F>::has_min>(last, s, parity, q).rows(0, tile_rows);
  }

 private:
  // Four products with group G, and beside them half of a quadrant's rows.
  template <int G, class Drain, class Ride>
  TEGULA_INLINE static void multiply_group(const row_pair& a, index_t k, const tiles& b, scratch& s, index_t parity, const Drain& drain,
                                           Ride& ride) {
    constexpr int stored = (G + unit_groups - 1) % unit_groups;  // the group that the accumulators hold
    constexpr int first = G % 2 * 8;                             // row
    const index_t stored_parity = G == 0 ? 1 - parity : parity;
    tile_load<4>(a.bf16_tile(0, k / 32 + G));
    tile_load<6>(b.quants[0][G]);
    tile_store_and_zero<0>(s.at(0, stored, stored_parity));
    bf16_pairs::multiply<0, 4, 6>();
    drain.rows(first, first + 2);
    tile_load<7>(b.quants[1][G]);
    tile_store_and_zero<1>(s.at(1, stored, stored_parity));
    bf16_pairs::multiply<1, 4, 7>();
    drain.rows(first + 2, first + 4);
    tile_load<5>(a.bf16_tile(1, k / 32 + G));
    tile_store_and_zero<2>(s.at(2, stored, stored_parity));
    bf16_pairs::multiply<2, 5, 6>();
    drain.rows(first + 4, first + 6);
    tile_store_and_zero<3>(s.at(3, stored, stored_parity));
    bf16_pairs::multiply<3, 5, 7>();
    drain.rows(first + 6, first + 8);
    ride();
  }
};
