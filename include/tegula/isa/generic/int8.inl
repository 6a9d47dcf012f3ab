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

// C[MR][NR] (rows of NR floats) += the chunk, whose bytes have Offset, 0 or 128, added. Registers: MR x panel_vectors sums, and of few rows
// several of each, which hides a product's latency. Bound: the dot products, NR * K / (4 * lanes) a row.
template <int MR, int Offset>
TEGULA_NOINLINE void int8_kernel(const t::a_block& block, index_t first_row, const byte_chunk& w, float* c) noexcept {
  using partial = byte_dot;
  constexpr int tile_rows = 64 / 4, outputs = MR * panel_vectors, chains = outputs <= 2 ? 4 : outputs <= 4 ? 2 : 1;
  constexpr std::uint32_t to_unsigned = (128 - Offset) * 0x01010101u;
  const t::byte_block* weights = w.blocks;
  for (index_t k = w.first_k; k < w.last_k; k += t::scale_k, ++weights) {
    const a_rows a(block, first_row, k);
    partial sums[MR][panel_vectors][chains];
    if constexpr (!partial::offset_applied) {
      TEGULA_UNROLL
      for (int m = 0; m < MR; ++m) {
        TEGULA_UNROLL
        for (int v = 0; v < panel_vectors; ++v) sums[m][v][0].sum = a.offset256(m);
      }
    }
    for (int tile = 0; tile < t::scale_k / 64; ++tile) {
      const std::byte* quads = a.quants(static_cast<std::size_t>(tile) * 64);
      TEGULA_UNROLL
      for (int r = 0; r < tile_rows; ++r) {
        const std::byte* row = weights->rows[tile * tile_rows + r];
        if constexpr (MR >= 16 && Offset == 0) prefetch_page_ahead<t::row_bytes>(row);  // from memory: so many products see too few loads
        vu32 bytes[panel_vectors];
        TEGULA_UNROLL
        for (int v = 0; v < panel_vectors; ++v) bytes[v] = load<vu32>(row + v * lanes * 4) ^ to_unsigned;
        TEGULA_UNROLL
        for (int m = 0; m < MR; ++m) {
          const vu32 activations = splat_word(quads + m * t::row_bytes + 4 * r);
          TEGULA_UNROLL
          for (int v = 0; v < panel_vectors; ++v) sums[m][v][r % chains].add(bytes[v], activations);
        }
      }
    }
    TEGULA_UNROLL
    for (int v = 0; v < panel_vectors; ++v) {
      const vf32 scale = load<vf32>(weights->scales + v * lanes);
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
}
