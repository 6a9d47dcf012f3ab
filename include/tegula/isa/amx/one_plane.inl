// Requantized mode, and byte_formats: weights are bytes with one scale a column per 256 of K, so a sum stays in the tiles over 256; two
// panels share the tiles of A. Drained once per 256:  C = fma(float(S) * scale, da, C).
// Included inside namespace tegula::amx and its target region.
//
// Bound, cycles per 16 x 16 x 256: TMUL 64; loads 52, 4 tiles, S and C of every row and da of two; stores 32; vector 24, and for
// unpacking some 5,500 / rows of A.

// Of 256 of K of two panels.
struct byte_tile_scales {
  alignas(64) float of[2][t::NR];  // [panel]
};

// Where the bytes of two panels come from: `tiles` of a unit, made in so many `steps` a panel.
template <quantized_format F>
struct byte_source;

// Unpacked, eight tile rows a step: all that have fields in the same stored rows, so that each row's shift is a constant and rows share
// shifts. Zeros behind K.
template <quant_format F>
struct byte_source<F> {
  static constexpr int step_k = 32, steps = t::scale_k / step_k;
  struct tiles {
    alignas(64) std::byte bytes[2][t::scale_k * t::NR];  // [panel]
    byte_tile_scales scales;
  };
  byte_scales<F, 0> by;

  TEGULA_INLINE static const std::byte* bytes(const block_product&, index_t, index_t panel, const tiles& b) { return b.bytes[panel]; }

  TEGULA_INLINE void step(const block_product& p, index_t unit, index_t i, tiles& b) {
    const auto within = static_cast<int>(i % steps);
    const index_t index = i / steps, first_k = unit * t::scale_k, k = first_k + within * step_k;
    const std::byte* panel = panel_of<F>(p, index);
    if (within == 0) store(b.scales.of[index], by.make(panel, p.K, first_k, 0));
    if (k < p.K) unpack(packed_block<F>(panel, p.K, k / F::block_k).rows, within, b.bytes[index]);
    else __builtin_memset(b.bytes[index] + within * step_k * t::NR, 0, step_k * t::NR);
  }

 private:
  TEGULA_INLINE void unpack(const std::byte* block, int step, std::byte* bytes) const {
    using layout = t::panel_layout<F>;
    constexpr int fields = sharing_groups<F>, stored = static_cast<int>(layout::plane_rows(0)), rows = step_k / 4 / fields;
    constexpr int block_steps = F::block_k / step_k, group_rows = F::group_k / 4, run = rows < group_rows ? rows : group_rows;
    const int within = step % block_steps;  // the block
    const std::byte* from = block + static_cast<std::size_t>(within) * (layout::block_quants / block_steps);
    const eight_rows<F, affine_fields> source(from, 0);
    TEGULA_UNROLL
    for (int field = 0; field < fields; ++field) {
      const int first = step / block_steps * (F::block_k / 4) + field * stored + within * rows;  // tile row of the 256
      TEGULA_UNROLL
      for (int r = 0; r < rows; r += run) {
        const byte_scale scale = by.of[first / group_rows + r / group_rows];
        TEGULA_UNROLL
        for (int i = r; i < r + run; ++i) {
          requantize_row(source, field * stored + i, scale, bytes + (first + i) * tile_row_bytes);
        }
      }
    }
  }
};

// The panels themselves.
template <byte_format F>
struct byte_source<F> {
  static constexpr unsigned steps = 1;
  struct tiles {
    byte_tile_scales scales;
  };

  TEGULA_INLINE static const std::byte* bytes(const block_product& p, index_t unit, index_t panel, const tiles&) {
    return block(p, unit, panel).rows[0];
  }

  TEGULA_INLINE void step(const block_product& p, index_t unit, index_t panel, tiles& b) const {
    store(b.scales.of[panel], load<vf32>(block(p, unit, panel).scales));
  }

 private:
  TEGULA_INLINE static const t::byte_block& block(const block_product& p, index_t unit, index_t panel) {
    return byte_blocks(panel_of<F>(p, panel))[unit];
  }
};

// Stored sums of a unit. A quadrant is 16 rows of one panel, an accumulator.
struct byte_scratch {
  alignas(64) std::int32_t sums[4][tile_rows * t::NR];
};

// Drains a unit, a few rows at a time; the panels share a row's da.
struct byte_drain {
  float* c;
  const float* da[2];
  const byte_scratch& from;
  vf32 scale[2];

  TEGULA_INLINE byte_drain(const pending_unit<byte_tile_scales>& to, const byte_scratch& sums)
      : c(to.rows.c),
        da{to.rows.scales(0, to.k), to.rows.scales(1, to.k)},
        from(sums),
        scale{in_register(load<vf32>(to.scales->of[0])), in_register(load<vf32>(to.scales->of[1]))} {}

  TEGULA_INLINE void rows(int first, int last) const {
    TEGULA_UNROLL
    for (int r = first; r < last; ++r) {
      const int block = r / tile_rows, row = r % tile_rows;
      const vf32 scale_of_a = in_register(splat(da[block][row]));
      TEGULA_UNROLL
      for (int panel = 0; panel < 2; ++panel) {
        float* at = c + panel * c_stride + r * t::NR;
        const vf32 sum = to_float(load<vi32>(from.sums[2 * block + panel] + row * t::NR));
        store(at, fma(sum * scale[panel], scale_of_a, load<vf32>(at)));
      }
    }
  }
};

// A unit: 32 rows x 2 panels x 256. An accumulator of the unit before is stored just before its register's first product, four
// products after its last, and the rows of that unit are drained between the others.
template <quantized_format F, class Source = byte_source<F>>
struct byte_kernel {
  using unpacker = Source;
  using tiles = typename unpacker::tiles;
  using scales = byte_tile_scales;
  using scratch = byte_scratch;
  static constexpr index_t unit_k = t::scale_k, chunk = chunk_k / unit_k, rides = 4;
  static constexpr index_t unpack_steps(index_t) { return 2 * unpacker::steps; }
  static constexpr scales nothing{};

  TEGULA_INLINE static void start(const row_pair&) {}

  template <class Ride>
  TEGULA_INLINE static void multiply(const block_product& p, const row_pair& a, index_t k, const tiles& b, scratch& s, index_t,
                                     const pending_unit<scales>& before, Ride& ride) {
    const std::byte *b0 = unpacker::bytes(p, k / unit_k, 0, b), *b1 = unpacker::bytes(p, k / unit_k, 1, b);
    const byte_drain drain(before, s);
    unrolled<4>([&](auto step) TEGULA_LAMBDA_INLINE {
      constexpr int kt = step();
      const auto drain_beside = [&](int product) TEGULA_LAMBDA_INLINE {  // 32 rows over the twelve last products
        if constexpr (kt > 0) drain.rows((4 * kt - 4 + product) * 32 / 12, (4 * kt - 3 + product) * 32 / 12);
      };
      tile_load<4>(a.tile(0, k / 64 + kt));
      tile_load<6>(b0 + kt * tile_bytes);
      next<kt, 0>(s);
      signed_bytes::multiply<0, 4, 6>();
      drain_beside(0);
      tile_load<7>(b1 + kt * tile_bytes);
      next<kt, 1>(s);
      signed_bytes::multiply<1, 4, 7>();
      drain_beside(1);
      tile_load<5>(a.tile(1, k / 64 + kt));
      next<kt, 2>(s);
      signed_bytes::multiply<2, 5, 6>();
      drain_beside(2);
      next<kt, 3>(s);
      signed_bytes::multiply<3, 5, 7>();
      drain_beside(3);
      ride();
    });
  }

  TEGULA_INLINE static void finish(scratch& s, index_t, const pending_unit<scales>& last) {
    unrolled<4>([&](auto q) TEGULA_LAMBDA_INLINE { tile_store<q()>(s.sums[q()]); });
    byte_drain(last, s).rows(0, 2 * tile_rows);
  }

 private:
  template <int KTile, int Q>
  TEGULA_INLINE static void next(scratch& s) {
    if constexpr (KTile == 0) tile_store_and_zero<Q>(s.sums[Q]);
  }
};
