// bf16 mode: C stays in tiles over a chunk of K; two panels share the tiles of A.
// Included inside namespace tegula::amx and its target region.
//
// Bound, cycles per 16 x 16 x 256: TMUL 128; loads 4 a 4 TDPs.

// One unit: 32 rows x 2 panels x the chunk. An accumulator of the unit before is stored just before its register is loaded again,
// four products after its last.
struct bf16_unit {
  const row_pair& a;
  index_t first_tile, k_tiles;
  const std::byte* b[2];
  float* c[2][2];  // [rows 0 - 15, 16 - 31][panel]
};

TEGULA_INLINE void multiply_bf16(const bf16_unit& u, float* (&stored)[2][2]) {
  const auto next = [&](auto tile, int row, int panel) TEGULA_LAMBDA_INLINE {
    tile_store<tile()>(stored[row][panel]);
    tile_load<tile()>(u.c[row][panel]);
    stored[row][panel] = u.c[row][panel];
  };
  tile_load<4>(u.a.tile(0, u.first_tile));
  tile_load<6>(u.b[0]);
  next(std::integral_constant<int, 0>{}, 0, 0);
  bf16_pairs::multiply<0, 4, 6>();
  tile_load<7>(u.b[1]);
  next(std::integral_constant<int, 1>{}, 0, 1);
  bf16_pairs::multiply<1, 4, 7>();
  tile_load<5>(u.a.tile(1, u.first_tile));
  next(std::integral_constant<int, 2>{}, 1, 0);
  bf16_pairs::multiply<2, 5, 6>();
  next(std::integral_constant<int, 3>{}, 1, 1);
  bf16_pairs::multiply<3, 5, 7>();
  for (index_t k = 1; k < u.k_tiles; ++k) {
    tile_load<4>(u.a.tile(0, u.first_tile + k));
    tile_load<6>(u.b[0] + k * tile_bytes);
    bf16_pairs::multiply<0, 4, 6>();
    tile_load<7>(u.b[1] + k * tile_bytes);
    bf16_pairs::multiply<1, 4, 7>();
    tile_load<5>(u.a.tile(1, u.first_tile + k));
    bf16_pairs::multiply<2, 5, 6>();
    bf16_pairs::multiply<3, 5, 7>();
  }
}

TEGULA_INLINE void finish_bf16(float* const (&stored)[2][2]) {
  tile_store<0>(stored[0][0]);
  tile_store<1>(stored[0][1]);
  tile_store<2>(stored[1][0]);
  tile_store<3>(stored[1][1]);
}
