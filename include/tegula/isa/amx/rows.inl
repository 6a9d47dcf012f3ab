// Rows of A as the tile kernels take them: pairs of blocks. Included inside namespace tegula::amx and its target region.

// Two tiles of rows and where their results go. With an odd number of blocks the last pair's second tile repeats the first with
// one row, whose result nobody reads.
struct row_pair {
  t::a_block block[2];
  float* c;  // C of 32 rows, [row][NR]

  [[nodiscard]] TEGULA_INLINE const std::byte* tile(int i, index_t k_tile) const {
    return block[i].tiles + k_tile * block[i].tile_stride();
  }
  [[nodiscard]] TEGULA_INLINE const std::byte* bf16_tile(int i, index_t k_tile) const {
    return block[i].bf16_tiles + k_tile * block[i].tile_stride();
  }
  [[nodiscard]] TEGULA_INLINE const float* scales(int i, index_t k) const { return block[i].scales + k / t::scale_k * block[i].rows; }
  // Group sums of row 0 of block i at k; the next row's are sums32_per_scale further.
  [[nodiscard]] TEGULA_INLINE const float* sums32(int i, index_t k) const {
    return block[i].sums32 + k / t::scale_k * block[i].rows * t::sums32_per_scale + k % t::scale_k / 32;
  }
  [[nodiscard]] TEGULA_INLINE const std::uint16_t* sum_pairs(int i, index_t k) const {
    return block[i].pairs32 + k / t::scale_k * block[i].rows * t::pairs_per_scale;
  }
};

// The rows of a product that one tile configuration serves: pairs of full blocks, or the one pair that is not.
struct row_pairs {
  row_pair first;
  index_t count;  // of pairs

  // `pairs` from the product's pair number `pair` on.
  TEGULA_INLINE row_pairs(const block_product& p, index_t pair, index_t pairs)
      : first{{p.blocks[2 * pair], {}}, p.c + 2 * pair * t::block_rows * t::NR}, count(pairs) {
    const bool second = 2 * pair + 1 < p.block_count;
    first.block[1] = second ? p.blocks[2 * pair + 1] : first.block[0];
    rows[0] = first.block[0].rows;
    rows[1] = second ? first.block[1].rows : 1;
  }
  index_t rows[2];  // of each pair

  [[nodiscard]] TEGULA_INLINE row_pair operator[](index_t i) const {
    const index_t n = 2 * t::block_rows * i;
    return {{first.block[0].below(n), first.block[1].below(n)}, first.c + n * t::NR};
  }
};

// A unit whose sums are still in the accumulators and the scratch, and what draining them into C takes.
template <class Scales>
struct pending_unit {
  row_pair rows;
  index_t k;
  const Scales* scales;
};

// Calls function(row_pairs) for the full pairs and for the rest, as far as there are any.
template <class Function>
TEGULA_INLINE void for_each_configuration(const block_product& p, Function function) {
  const index_t full = p.rows() / (2 * t::block_rows);
  if (full > 0) function(row_pairs(p, 0, full));
  if (p.rows() > full * 2 * t::block_rows) function(row_pairs(p, full, 1));
}

// Panel i of a product; the first in place of one that is not there, so that it is multiplied twice.
template <block_format F>
TEGULA_INLINE const std::byte* panel_of(const block_product& p, index_t i) {
  return i < p.panels ? p.panel + static_cast<std::size_t>(i) * t::panel_layout<F>::panel_bytes(p.K) : p.panel;
}

// Block `i` of a panel of K weights.
template <quant_format F>
struct packed_block {
  super_group<F> super;
  std::size_t within;  // the super-group
  const std::byte* rows;

  TEGULA_INLINE packed_block(const std::byte* panel, index_t K, index_t i)
      : super(super_group_at<F>(panel, i / t::traits<F>::super_blocks, K)),
        within(static_cast<std::size_t>(i % t::traits<F>::super_blocks)),
        rows(super.quants(within)) {}
};

// Fields by one instruction, for which n is data: a byte as eight bits, times a matrix of bits. Asm, as GFNI is not among the features of
// this region, which are avx512's.
class affine_fields {
 public:
  template <std::uint32_t Mask>
  TEGULA_INLINE static vu32 of_bytes(vu32 bytes, int n) {
    if constexpr (Mask == 0xff) return bytes;  // n is 0
    vu32 fields;
    asm("vgf2p8affineqb $0, %2, %1, %0" : "=v"(fields) : "v"(bytes), "v"(_mm512_set1_epi64(matrix<Mask>(n))));
    return fields;
  }
  template <std::uint32_t Mask>
  TEGULA_INLINE static vu16 of_lower_bytes(vu32 bytes, int n) {
    constexpr __mmask64 lower = 0x5555555555555555;
    vu16 fields;
    asm("vgf2p8affineqb $0, %2, %1, %0%{%3%}%{z%}" : "=v"(fields) : "v"(bytes), "v"(_mm512_set1_epi64(matrix<Mask>(n))), "Yk"(lower));
    return fields;
  }

 private:
  // Byte 7 - i has the bits that are added to bit i: bit i + n, if bit i is in Mask.
  template <std::uint32_t Mask>
  TEGULA_INLINE static long long matrix(int n) {
    constexpr std::uint64_t in_place = [] {
      std::uint64_t rows = 0;
      for (unsigned i = 0; i < 8; ++i)
        if ((Mask >> i & 1u) != 0) rows |= std::uint64_t{1} << (8 * (7 - i) + i);
      return rows;
    }();
    constexpr std::uint64_t bytes = 0x0101010101010101;
    const auto up = static_cast<unsigned>(n >= 0 ? n : -n);
    return static_cast<long long>(n >= 0 ? (in_place & bytes * (0xffu >> up)) << up : (in_place & bytes * (0xffu << up & 0xffu)) >> up);
  }
};

// Keeps a value in a register: as an operand from memory it would cost the drain, which all rows go through, a load each.
TEGULA_INLINE vf32 in_register(vf32 x) {
  asm("" : "+v"(x));
  return x;
}
