// The macro-kernels of AMX: a chunk of K of a panel (bf16: of two), unpacked once for the M block, times pairs of blocks of A.
// Included inside namespace tegula::amx and its target region.

// No accumulator is pending before the first unit, but the pipeline drains one all the same: into this.
struct nowhere {
  alignas(64) float c[2 * tile_rows * t::NR] = {};
};

template <integer_scales F>
TEGULA_NOINLINE void plane_macrokernel(const row_pairs& rows, index_t first_super, index_t supers, const plane_tiles* b) noexcept {
  constexpr index_t super_k = t::traits<F>::super_k;
  const unit_order order{rows.count, supers};
  nowhere none;
  plane_scratch scratch{};
  plane_drain before{none.c, {none.c, none.c}, none.c, none.c};
  const tile_config config(rows.rows0, rows.rows1);
  const tile_session session(config);
  const auto unit = [&](index_t i, auto parity) TEGULA_LAMBDA_INLINE {
    const row_pair a = rows[order.pair(i)];
    const index_t s = order.super(i), k = (first_super + s) * super_k;
    multiply_planes<F, parity()>(a, k, b[s], scratch, before);
    before = {a.c, {a.scales(0, k), a.scales(1, k)}, b[s].d, b[s].dmin};
  };
  constexpr std::integral_constant<int, 0> even;
  constexpr std::integral_constant<int, 1> odd;
  index_t i = 0;
  for (; i + 1 < order.count(); i += 2) {
    unit(i, even);
    unit(i + 1, odd);
  }
  if (i < order.count()) {
    unit(i, even);
    finish_planes<F, 0>(scratch);
  } else {
    finish_planes<F, 1>(scratch);
  }
  drain_planes<plane_shift<F>, t::traits<F>::has_min>(before, scratch, 0, 2 * tile_rows);
}

template <float_scales F>
TEGULA_NOINLINE void group_macrokernel(const row_pairs& rows, index_t first_super, index_t supers, const group_tiles* b) noexcept {
  constexpr index_t super_k = t::traits<F>::super_k;
  const unit_order order{rows.count, supers};
  nowhere none;
  group_scratch scratch[2] = {};
  group_drain before{none.c, {none.c, none.c}, {none.c, none.c}, b};
  const tile_config config(rows.rows0, rows.rows1);
  const tile_session session(config);
  for (index_t i = 0; i < order.count(); ++i) {
    const row_pair a = rows[order.pair(i)];
    const index_t s = order.super(i), k = (first_super + s) * super_k;
    multiply_groups<F>(a, k, b[s], scratch[i % 2], before, scratch[(i + 1) % 2]);
    before = {a.c, {a.scales(0, k), a.scales(1, k)}, {a.sums32(0, k), a.sums32(1, k)}, b + s};
  }
  group_scratch& last = scratch[(order.count() + 1) % 2];
  finish_groups(last);
  drain_groups<t::traits<F>::has_min>(before, last, 0, 2 * tile_rows);
}

template <quant_format F>
TEGULA_NOINLINE void exact_macrokernel(const block_product& p) noexcept {
  constexpr index_t super_k = t::traits<F>::super_k, chunk = chunk_k / super_k;
  using tiles = std::conditional_t<integer_scales<F>, plane_tiles, group_tiles>;
  tiles b[chunk];
  const index_t all = (p.K + super_k - 1) / super_k;
  for (index_t first = 0; first < all; first += chunk) {
    const index_t supers = all - first < chunk ? all - first : chunk;
    for (index_t s = 0; s < supers; ++s) {
      const auto super = super_group_at<F>(p.panel, first + s, p.K);
      if constexpr (integer_scales<F>) unpack_planes<F>(super, b[s]);
      else unpack_groups<F>(super, b[s]);
    }
    for_each_configuration(p, [&](const row_pairs& rows) TEGULA_LAMBDA_INLINE {
      if constexpr (integer_scales<F>) plane_macrokernel<F>(rows, first, supers, b);
      else group_macrokernel<F>(rows, first, supers, b);
    });
  }
}

// `b` holds the chunk of both panels; a single panel comes twice, with no C of a second.
inline TEGULA_NOINLINE void bf16_tile_macrokernel(const row_pairs& rows, index_t first_tile, index_t k_tiles,
                                                  const std::byte* const (&b)[2], float* c_of_second) noexcept {
  nowhere none;
  float* const spare = none.c;
  float* stored[2][2] = {{spare, spare}, {spare, spare}};
  const tile_config config(rows.rows0, rows.rows1);
  const tile_session session(config);
  for (index_t i = 0; i < rows.count; ++i) {
    const row_pair a = rows[i];
    constexpr int half = tile_rows * t::NR;
    float* second = c_of_second == nullptr ? spare : c_of_second + (a.c - rows.product->c);
    multiply_bf16({a, first_tile, k_tiles, {b[0], b[1]}, {{a.c, second}, {a.c + half, second + half}}}, stored);
  }
  finish_bf16(stored);
}

template <block_format F>
TEGULA_NOINLINE void bf16_macrokernel(const block_product& p) noexcept {
  constexpr index_t chunk = chunk_k / 2;  // two panels of 32 KiB
  alignas(64) std::byte buffer[2][chunk / 2 * tile_row_bytes];
  const bool two = p.panels == 2;
  for (index_t k = 0; k < p.K; k += chunk) {
    const index_t count = p.K - k < chunk ? p.K - k : chunk;
    const std::byte* first = bf16_chunk<F>(p.panel, p.K, k, count, buffer[0]);
    const std::byte* second = two ? bf16_chunk<F>(p.panel + t::panel_layout<F>::panel_bytes(p.K), p.K, k, count, buffer[1]) : first;
    for_each_configuration(p, [&](const row_pairs& rows) TEGULA_LAMBDA_INLINE {
      bf16_tile_macrokernel(rows, k / 32, (count + 31) / 32, {first, second}, two ? p.c_of_panel(1) : nullptr);
    });
  }
}
