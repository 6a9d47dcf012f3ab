// bf16 mode: C stays in tiles over a unit of K; two panels share the tiles of A.
// Included inside namespace tegula::amx and its target region.
//
// Bound, cycles per 16 x 16 x 256: TMUL 128; loads 82, 8 tiles and C once in two units; vector 2 uops a weight / rows of A.

// Draining takes no scales.
struct bf16_scales {};

// Where the pairs of two panels come from: the panels themselves, or unpacked, step_k of K of a panel a step; `first`: of a unit.
template <block_format F>
struct packed_pairs {
  static constexpr index_t step_k = 32;
  alignas(64) float scale[16][t::NR] = {}, minimum[16][t::NR] = {};  // of the groups of a block

  TEGULA_INLINE static bool in_place(index_t K) { return is_bf16_tiles<F>(K); }
  TEGULA_INLINE static const std::byte* panel(const block_product& p, index_t i) { return panel_of<F>(p, i); }

  TEGULA_INLINE void step(const block_product& p, index_t panel, index_t k, bool, std::byte* out) {
    if (k < p.K) unpack(panel_of<F>(p, panel), p.K, k, out);
  }

 private:
  TEGULA_INLINE void unpack(const std::byte* panel, index_t K, index_t k, std::byte* out) {
    if constexpr (float_format<F>) {
      for (int j = 0; j < step_k / 2; ++j) store(out + j * tile_row_bytes, weight_pair<F, hardware_rounding>(panel, k + 2 * j, K, 0));
    } else if constexpr (byte_format<F>) {
      const t::byte_block& block = byte_blocks(panel)[k / F::block_k];
      const auto r = static_cast<int>(k % F::block_k / 4);
      const vf32 d = float_scale(block, 0);
      TEGULA_UNROLL
      for (int j = 0; j < step_k / 4; ++j)
        dequantize_row<128, hardware_rounding>(unsigned_row(block, r + j, 0), d, vf32{}, out + 2 * j * tile_row_bytes);
    } else {
      const packed_block<F> block(panel, K, k / F::block_k);
      const auto r = static_cast<int>(k % F::block_k / 4);
      if (r == 0)
        for_each_group<F>(block.super, block.within, 0, [&](int g, vf32 d, vf32 m) TEGULA_LAMBDA_INLINE {
          store(scale[g], d);
          store(minimum[g], m);
        });
      const eight_rows<F, affine_fields> rows(block.rows, r);
      vf32 d{}, m{};
      TEGULA_UNROLL
      for (int j = 0; j < step_k / 4; ++j) {
        const int group = (r + j) / (F::group_k / 4);
        if (j % (F::group_k / 4) == 0) d = load<vf32>(scale[group]), m = load<vf32>(minimum[group]);
        dequantize_row<F::offset, hardware_rounding>(rows.row(j), d, m, out + 2 * j * tile_row_bytes);
      }
    }
  }
};

template <block_format F, class Source = packed_pairs<F>>
struct bf16_kernel {
  static constexpr index_t unit_k = 512, chunk = 4, rides = unit_k / 32, panel_bytes = unit_k / 2 * tile_row_bytes;

  using scales = bf16_scales;
  struct tiles {
    bf16_scales scales;
    alignas(64) std::byte pairs[2 * panel_bytes];
  };
  struct scratch {};
  static constexpr scales nothing{};

  static constexpr index_t unpack_steps(index_t K) { return Source::in_place(K) ? 0 : 2 * unit_k / Source::step_k; }
  struct unpacker {
    Source source;

    TEGULA_INLINE void step(const block_product& p, index_t unit, index_t i, tiles& b) {
      constexpr unsigned steps = unit_k / Source::step_k;
      const unsigned panel = static_cast<unsigned>(i) / steps;
      const unsigned within = static_cast<unsigned>(i) % steps;
      source.step(p, panel, unit * unit_k + within * Source::step_k, within == 0, b.pairs + i * (Source::step_k / 2 * tile_row_bytes));
    }
  };

  TEGULA_INLINE static void start(const row_pair& first) {
    tile_load<0>(quadrant(first, 0));
    tile_load<1>(quadrant(first, 1));
    tile_load<2>(quadrant(first, 2));
    tile_load<3>(quadrant(first, 3));
  }

  // A unit: 32 rows x 2 panels x 512. An accumulator of the unit before is stored just before its register is loaded again, four
  // products after its last.
  template <class Ride>
  TEGULA_INLINE static void multiply(const block_product& p, const row_pair& a, index_t k, const tiles& b, scratch&, index_t,
                                     const pending_unit<scales>& before, Ride& ride) {
    const bool in_place = Source::in_place(p.K);
    const std::byte* b0 = in_place ? Source::panel(p, 0) + k / 2 * tile_row_bytes : b.pairs;
    const std::byte* b1 = in_place ? Source::panel(p, 1) + k / 2 * tile_row_bytes : b.pairs + panel_bytes;
    const index_t rest = p.K - k, first = k / 32, k_tiles = rest < unit_k ? (rest + 31) / 32 : unit_k / 32;
    tile_load<4>(a.tile(0, first));
    tile_load<6>(b0);
    next<0>(before, a);
    bf16_pairs::multiply<0, 4, 6>();
    tile_load<7>(b1);
    next<1>(before, a);
    bf16_pairs::multiply<1, 4, 7>();
    tile_load<5>(a.tile(1, first));
    next<2>(before, a);
    bf16_pairs::multiply<2, 5, 6>();
    next<3>(before, a);
    bf16_pairs::multiply<3, 5, 7>();
    ride();
    for (index_t i = 1; i < k_tiles; ++i) {
      tile_load<4>(a.tile(0, first + i));
      tile_load<6>(b0 + i * tile_bytes);
      bf16_pairs::multiply<0, 4, 6>();
      tile_load<7>(b1 + i * tile_bytes);
      bf16_pairs::multiply<1, 4, 7>();
      tile_load<5>(a.tile(1, first + i));
      bf16_pairs::multiply<2, 5, 6>();
      bf16_pairs::multiply<3, 5, 7>();
      ride();
    }
  }

  TEGULA_INLINE static void finish(scratch&, index_t, const pending_unit<scales>& last) {
    tile_store<0>(quadrant(last.rows, 0));
    tile_store<1>(quadrant(last.rows, 1));
    tile_store<2>(quadrant(last.rows, 2));
    tile_store<3>(quadrant(last.rows, 3));
  }

 private:
  TEGULA_INLINE static float* quadrant(const row_pair& rows, int q) { return rows.c + q % 2 * c_stride + q / 2 * tile_rows * t::NR; }
  template <int Q>
  TEGULA_INLINE static void next(const pending_unit<scales>& before, const row_pair& now) {
    tile_store<Q>(quadrant(before.rows, Q));
    tile_load<Q>(quadrant(now, Q));
  }
};
