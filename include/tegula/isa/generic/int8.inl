// The micro-kernel of int8 weights with one scale per 256 of K, byte_blocks: of byte_formats in both integer modes, from the panel, and of
// requantized mode. One dot product per 256:
//
//   C = fma(float(S) * scale, da, C)        S = sum over the 256 of byte * a, 256s of K ascending

// K weights first_k .. last_k - 1 of a panel, first_k a multiple of 256.
struct byte_chunk {
  const t::byte_block* blocks;
  index_t first_k, last_k;
};

using byte_dot = partial_dot<255, t::scale_k, 128>;

// What these products read of A besides quants and scales.
inline constexpr t::a_parts int8_parts = byte_dot::offset_applied ? 0 : t::a_part::offset256;

// Rows of a tile of 64 of K that stand in memory, bytes with Offset added.
template <int Offset, bool Prefetch>
struct byte_rows_in_memory {
  const std::byte* at;

  [[nodiscard]] TEGULA_INLINE vu32 operator()(int r, int v) const {
    constexpr std::uint32_t to_unsigned = (128 - Offset) * 0x01010101u;
    const std::byte* row = at + r * t::row_bytes;
    if constexpr (Prefetch)
      if (v == 0) prefetch_page_ahead<t::row_bytes>(row);
    return load<vu32>(row + v * lanes * 4) ^ to_unsigned;
  }
};

// C[MR][NR] (rows of NR floats) += 256 of K. with_tile(i, step) calls step(rows) with the i-th 64 of K: rows(r, v) are bytes
// + 128.
// Registers: MR x panel_vectors sums, and of few rows several of each, which hides a product's latency. Bound: the dot products,
// NR * K / (4 * lanes) a row.
template <int MR, class WithTile>
TEGULA_INLINE void add_256(const a_rows& a, const void* scales, WithTile with_tile, float* c) {
  using partial = byte_dot;
  constexpr int tile_rows = 64 / 4, outputs = MR * panel_vectors, chains = outputs <= 2 ? 4 : outputs <= 4 ? 2 : 1;
  partial sums[MR][panel_vectors][chains];
  if constexpr (!partial::offset_applied)
    for_each_vector<MR, panel_vectors>([&](int m, int v) TEGULA_LAMBDA_INLINE { sums[m][v][0].sum = a.offset256(m); });
  for (index_t i = 0; i < t::scale_k / 64; ++i) {
    const std::byte* quads = a.quants(static_cast<std::size_t>(i) * 64);
    with_tile(i, [&](auto rows) TEGULA_LAMBDA_INLINE {
      TEGULA_UNROLL
      for (int r = 0; r < tile_rows; ++r) {
        vu32 bytes[panel_vectors];
        TEGULA_UNROLL
        for (int v = 0; v < panel_vectors; ++v) bytes[v] = rows(r, v);
        TEGULA_UNROLL
        for (int m = 0; m < MR; ++m) {
          const vu32 activations = splat_word(quads + m * t::row_bytes + 4 * r);
          TEGULA_UNROLL
          for (int v = 0; v < panel_vectors; ++v) sums[m][v][r % chains].add(bytes[v], activations);
        }
      }
    });
  }
  TEGULA_UNROLL
  for (int v = 0; v < panel_vectors; ++v) {
    const vf32 scale = load<vf32>(static_cast<const std::byte*>(scales) + v * lanes * 4);
    TEGULA_UNROLL
    for (int m = 0; m < MR; ++m) {
      vi32 sum{};
      TEGULA_UNROLL
      for (const partial& chain : sums[m][v]) sum = chain.total(sum);
      float* at = c + m * t::NR + v * lanes;
      store(at, fma(to_float(sum) * scale, a.scale(m), load<vf32>(at)));
    }
  }
}

// C[MR][NR] += the chunk, whose bytes have Offset, 0 or 128, added.
template <int MR, int Offset>
TEGULA_NOINLINE void int8_kernel(const t::a_block& block, index_t first_row, const byte_chunk& w, float* c) noexcept {
  // From memory: so many products see too few loads. (Zen 5, AVX-512, M = 8: 20 to 28 GB/s.) Where strips have 4 rows, many rows would pay.
  constexpr bool prefetch = MR >= 4 && byte_rows >= 16 && Offset == 0;
  const t::byte_block* weights = w.blocks;
  for (index_t k = w.first_k; k < w.last_k; k += t::scale_k, ++weights)
    add_256<MR>(
        a_rows(block, first_row, k), weights->scales,
        [&](index_t i, auto step) TEGULA_LAMBDA_INLINE { step(byte_rows_in_memory<Offset, prefetch>{weights->rows[i * 64 / 4]}); }, c);
}
