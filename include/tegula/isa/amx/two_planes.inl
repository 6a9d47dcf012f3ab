// Exact mode with integer scales: the scale is multiplied into the weights, which then need two int8 planes,
//   S = A * hi * 2^shift + A * lo,
// over a whole super-group of 256 in the tiles; the minima are one more tile product, I = (128 h + l) * m, of integers that bf16
// and f32 hold exactly. Drained once per 256:  t = S * d;  t = fma(-I, dmin, t);  C = fma(t, da, C).
// Included inside namespace tegula::amx and its target region.
//
// Bound, cycles per 16 x 16 x 256: TMUL 128, with minima 144; drain 40 (48) vector uops of 32 a TDP; loads 4 a 4 TDPs.
// Numerics: each plane's sum is below 2^24, so fma(float(hi), 2^shift, float(lo)) rounds once, as float(S) does.

// How weights split into planes. Unsigned scales of 6 bits: scale = 8 * high + low, planes quant * high and quant * low, without
// carry between bytes. Signed scales: weight = 128 * hi + lo.
template <integer_scales F>
inline constexpr bool splits_scale = !F::signed_scales && F::offset == 0;
template <integer_scales F>
inline constexpr int plane_shift = splits_scale<F> ? 3 : 7;
template <integer_scales F>
using plane_bytes = std::conditional_t<splits_scale<F>, unsigned_bytes, signed_bytes>;

// B of one super-group, unpacked.
struct plane_scales {
  alignas(64) float d[t::NR];
  alignas(64) float dmin[t::NR];
};
struct plane_tiles {
  alignas(64) std::byte plane[2][4 * tile_bytes];  // hi, lo
  alignas(64) std::byte minima[tile_bytes];        // row g: (m, m) of group g as bf16; rows 8 - 15 zero
  plane_scales scales;
};

// Makes the planes of a super-group, eight tile rows a step: their places in several planes of quants are constants.
template <integer_scales F>
struct plane_unpacker {
  using traits = t::traits<F>;
  static constexpr int group_rows = F::group_k / 4, step_k = 32;
  alignas(64) std::uint32_t first[traits::groups][t::NR] = {}, second[traits::groups][t::NR] = {};  // factors of a group, twice 16 bits

  TEGULA_INLINE void step(const block_product& p, index_t unit, index_t i, plane_tiles& b) {
    const packed_block<F> block(p.panel, p.K, unit);
    const auto first_row = static_cast<int>(step_k / 4 * i);
    if (i == 0) unpack_scales(block.super, b);
    const eight_rows<F, affine_fields> rows(block.rows, first_row);
    vu32 x{}, y{};
    TEGULA_UNROLL
    for (int j = 0; j < rows.count; ++j) {
      const int group = (first_row + j) / group_rows;
      if (j % group_rows == 0) x = load<vu32>(first[group]), y = load<vu32>(second[group]);
      const index_t at = (first_row + j) * tile_row_bytes;
      unpack_row(rows.row(j), x, y, b.plane[0] + at, b.plane[1] + at);
    }
  }

 private:
  TEGULA_INLINE static void unpack_row(vu32 quants, vu32 x, vu32 y, std::byte* hi, std::byte* lo) {
    if constexpr (splits_scale<F>) {
      static_assert(traits::max_quant * 7 < 256, "a product with 3 bits of scale must fit a byte");
      store(hi, vu16(quants) * vu16(x));
      store(lo, vu16(quants) * vu16(y));
    } else {
      const vi16 even = vi16(quants & 0x00ff00ffu) * vi16(x) - vi16(y), odd = vi16((quants >> 8) & 0x00ff00ffu) * vi16(x) - vi16(y);
      store(hi, (vu32(even >> 7) & 0x00ff00ffu) | (vu32(odd >> 7) << 8 & 0xff00ff00u));
      store(lo, (vu32(even) & 0x007f007fu) | ((vu32(odd) & 0x007f007fu) << 8));
    }
  }
  TEGULA_INLINE void unpack_scales(const super_group<F>& super, plane_tiles& b) {
    const scale_words<F> words(super, 0);
    TEGULA_UNROLL
    for (int g = 0; g < traits::groups; ++g) {
      const vi32 scale = byte_of<F::signed_scales>(words.scales(g / 4), g % 4);
      store(first[g], in_both_halves(splits_scale<F> ? scale >> 3 : scale));
      store(second[g], in_both_halves(splits_scale<F> ? scale & 7 : scale * F::offset));
      if constexpr (traits::has_min) {
        const vu32 m = vu32(to_float(byte_of<false>(words.minima(g / 4), g % 4)));  // up to 8 bits: exact in bf16
        store(b.minima + g * tile_row_bytes, m | (m >> 16));
      }
    }
    store(b.scales.d, widen_halves(super.d(0)));
    if constexpr (traits::has_min) {
      static_assert(traits::groups == 8);
      store(b.scales.dmin, widen_halves(super.m(0)));
      __builtin_memset(b.minima + 8 * tile_row_bytes, 0, 8 * tile_row_bytes);  // against A's zeros, but 0 * NaN is NaN
    }
  }
};

// Where a unit's sums are on their way to C: stored tiles of rows 0 - 15, then of rows 16 - 31.
struct plane_scratch {
  struct {
    alignas(64) std::int32_t plane[2][256];  // hi, lo
    alignas(64) float minima[256];
  } tile[2];
};

// Drains a unit, a few rows at a time.
template <integer_scales F>
struct plane_drain {
  const row_pair& rows_of_a;
  index_t k;
  const plane_scratch& sums;
  vf32 d, dmin, unit = splat(static_cast<float>(1 << plane_shift<F>));

  TEGULA_INLINE plane_drain(const pending_unit<plane_scales>& to, const plane_scratch& from)
      : rows_of_a(to.rows), k(to.k), sums(from), d(in_register(load<vf32>(to.scales->d))), dmin(in_register(load<vf32>(to.scales->dmin))) {}

  TEGULA_INLINE void rows(int first, int last) const {
    TEGULA_UNROLL
    for (int r = first; r < last; ++r) {
      const auto& tile = sums.tile[r / tile_rows];
      const int row = r % tile_rows, at = row * t::NR;
      vf32 sum = fma(to_float(load<vi32>(tile.plane[0] + at)), unit, to_float(load<vi32>(tile.plane[1] + at))) * d;
      if constexpr (t::traits<F>::has_min) sum = fma(-load<vf32>(tile.minima + at), dmin, sum);
      float* c = rows_of_a.c + r * t::NR;
      store(c, fma(sum, splat(rows_of_a.scales(r / tile_rows, k)[row]), load<vf32>(c)));
    }
  }
};

// One unit: 32 rows x 16 columns x 256. Pipelined by one: an accumulator of the unit before is stored just before its register's
// next product, at least three products after its last, and the rows of that unit are drained between this one's products.
//
// The minima take the two accumulators of the plane that finishes first, at the end of the unit, and come off in the next one.
// So that no product waits for them the next unit starts with the other plane: units alternate between two parities.
template <integer_scales F, int Parity, class Ride>
TEGULA_INLINE void multiply_planes(const row_pair& a, index_t k, const plane_tiles& b, plane_scratch& scratch,
                                   const pending_unit<plane_scales>& before, Ride& ride) {
  using bytes = plane_bytes<F>;
  constexpr bool minima = t::traits<F>::has_min;
  constexpr int first = Parity, second = 1 - Parity;                       // planes
  constexpr int B0 = 6 + first, B1 = 6 + second;                           // their tiles of B
  constexpr int C0 = first, C1 = 2 + first, C2 = second, C3 = 2 + second;  // (rows 0 - 15, 16 - 31) x (first, second plane)
  auto &rows0 = scratch.tile[0], &rows1 = scratch.tile[1];
  const index_t k_tile = k / 64;

  tile_load<B0>(b.plane[first]);
  tile_load<5>(a.tile(1, k_tile));
  tile_load<B1>(b.plane[second]);
  tile_store_and_zero<C0>(rows0.plane[first]);
  bytes::template multiply<C0, 4, B0>();
  tile_store_and_zero<C1>(rows1.plane[first]);
  bytes::template multiply<C1, 5, B0>();
  tile_store_and_zero<C2>(minima ? static_cast<void*>(rows0.minima) : rows0.plane[second]);
  bytes::template multiply<C2, 4, B1>();
  tile_store_and_zero<C3>(minima ? static_cast<void*>(rows1.minima) : rows1.plane[second]);
  bytes::template multiply<C3, 5, B1>();
  ride();

  const plane_drain<F> drain(before, scratch);
  unrolled<3>([&](auto step) TEGULA_LAMBDA_INLINE {
    constexpr int kt = step() + 1, at = step() * 11;  // 32 rows over three k-tiles
    tile_load<4>(a.tile(0, k_tile + kt));
    tile_load<B0>(b.plane[first] + kt * tile_bytes);
    bytes::template multiply<C0, 4, B0>();
    drain.rows(at, at + 3);
    tile_load<5>(a.tile(1, k_tile + kt));
    bytes::template multiply<C1, 5, B0>();
    drain.rows(at + 3, at + 6);
    tile_load<B1>(b.plane[second] + kt * tile_bytes);
    bytes::template multiply<C2, 4, B1>();
    drain.rows(at + 6, at + 9);
    bytes::template multiply<C3, 5, B1>();
    drain.rows(at + 9, kt == 3 ? 32 : at + 11);
    ride();
  });

  if constexpr (minima) {
    tile_load<B0>(b.minima);
    tile_load<4>(a.sum_pairs(0, k));
    tile_store_and_zero<C0>(rows0.plane[first]);
    bf16_pairs::multiply<C0, 4, B0>();
    tile_load<5>(a.sum_pairs(1, k));
    tile_store_and_zero<C1>(rows1.plane[first]);
    bf16_pairs::multiply<C1, 5, B0>();
  }
}

// Stores what the last unit, of the given parity, left in the accumulators.
template <integer_scales F, int Parity>
TEGULA_INLINE void finish_planes(plane_scratch& scratch) {
  constexpr bool minima = t::traits<F>::has_min;
  constexpr int first = Parity, second = 1 - Parity;
  auto &rows0 = scratch.tile[0], &rows1 = scratch.tile[1];
  tile_store<first>(minima ? static_cast<void*>(rows0.minima) : rows0.plane[first]);
  tile_store<2 + first>(minima ? static_cast<void*>(rows1.minima) : rows1.plane[first]);
  tile_store<second>(rows0.plane[second]);
  tile_store<2 + second>(rows1.plane[second]);
}

template <integer_scales F>
struct plane_kernel {
  using tiles = plane_tiles;
  using scales = plane_scales;
  using scratch = plane_scratch;
  using unpacker = plane_unpacker<F>;
  static constexpr t::a_parts reads = t::traits<F>::has_min ? t::a_part::pairs32 : 0;
  static constexpr bool alternates = t::traits<F>::has_min;  // between the parities
  static constexpr index_t unit_k = t::traits<F>::super_k, chunk = chunk_k / unit_k, rides = 4;
  static constexpr index_t unpack_steps(index_t) { return unit_k / unpacker::step_k; }
  static constexpr scales nothing{};

  TEGULA_INLINE static void start(const row_pair&) {}
  template <class Ride>
  TEGULA_INLINE static void multiply(const block_product&, const row_pair& a, index_t k, const tiles& b, scratch& s, index_t parity,
                                     const pending_unit<scales>& before, Ride& ride) {
    tile_load<4>(a.tile(0, k / 64));  // what both begin with: not every compiler finds that out
    if (!alternates || parity == 0) multiply_planes<F, 0>(a, k, b, s, before, ride);
    else multiply_planes<F, 1>(a, k, b, s, before, ride);
  }
  TEGULA_INLINE static void finish(scratch& s, index_t parity, const pending_unit<scales>& last) {
    if (!alternates || parity == 0) finish_planes<F, 0>(s);
    else finish_planes<F, 1>(s);
    plane_drain<F>(last, s).rows(0, 2 * tile_rows);
  }
};
