// Rows of A as the tile kernels take them: pairs of blocks. Included inside namespace tegula::amx and its target region.

// Two tiles of rows and where their results go. With an odd number of blocks the last pair's second tile repeats the first with
// one row, whose result nobody reads.
struct row_pair {
  t::a_block block[2];
  float* c;  // C of 32 rows, [row][NR]

  [[nodiscard]] TEGULA_INLINE const std::byte* tile(int i, index_t k_tile) const {
    return block[i].tiles + k_tile * block[i].tile_stride();
  }
  [[nodiscard]] TEGULA_INLINE const float* scales(int i, index_t k) const { return block[i].scales + k / t::scale_k * block[i].rows; }
  // Group sums of row 0 of block i at k; the next row's are sums32_per_scale further.
  [[nodiscard]] TEGULA_INLINE const float* sums32(int i, index_t k) const {
    return block[i].sums32 + k / t::scale_k * block[i].rows * t::sums32_per_scale + k % t::scale_k / 32;
  }
  [[nodiscard]] TEGULA_INLINE const std::uint16_t* sum_pairs(int i, index_t k) const {
    return block[i].pairs + k / t::scale_k * block[i].rows * t::pairs_per_scale;
  }
};

// The rows of a product that one tile configuration serves: pairs of full blocks, or the one pair that is not.
struct row_pairs {
  const block_product* product;
  index_t first, count;  // in pairs
  index_t rows0, rows1;  // of each pair

  [[nodiscard]] TEGULA_INLINE row_pair operator[](index_t i) const {
    const index_t block0 = product->first_block + 2 * (first + i);
    const bool alone = block0 + 1 == product->last_block;
    return {{product->a->block(block0), product->a->block(alone ? block0 : block0 + 1)},
            product->c + 2 * (first + i) * t::block_rows * t::NR};
  }
};

// Calls function(row_pairs) for the full pairs and for the rest, as far as there are any.
template <class Function>
TEGULA_INLINE void for_each_configuration(const block_product& p, Function function) {
  const index_t rows = p.rows(), full = rows / (2 * t::block_rows), rest = rows % (2 * t::block_rows);
  if (full > 0) function(row_pairs{&p, 0, full, t::block_rows, t::block_rows});
  if (rest > t::block_rows) function(row_pairs{&p, full, 1, t::block_rows, rest - t::block_rows});
  else if (rest > 0) function(row_pairs{&p, full, 1, rest, 1});
}

// The order of the units of work in a kernel call: super-groups outside, pairs of rows inside, so that B of one super-group stays in
// L1 while A streams by.
struct unit_order {
  index_t pairs, supers;
  [[nodiscard]] index_t count() const { return pairs * supers; }
  [[nodiscard]] index_t super(index_t unit) const { return unit / pairs; }
  [[nodiscard]] index_t pair(index_t unit) const { return unit % pairs; }
};

// Keeps a value in a register: as an operand from memory it would cost the drain, which all rows go through, a load each.
TEGULA_INLINE vf32 in_register(vf32 x) {
  asm("" : "+v"(x));
  return x;
}
