// Reading a packed panel (layout: pack/panel.hpp): rows of quants from their bit planes, scales from their codes, and a whole
// chunk of K unpacked to bytes, one quant each, for products with many rows of A.

namespace t = tegula::detail;

// Tile row r of a block: [column][k % 4], quants as unsigned bytes. `rows` points at the first vector of the block's first row.
// Shift::down(fields, n) shifts each lane right by n bits, or left by -n; what leaves or enters a lane does not matter.
struct constant_shift {
  TEGULA_INLINE static vu32 down(vu32 fields, int n) { return n >= 0 ? fields >> n : fields << -n; }
};
template <quant_format F, class Shift = constant_shift>
TEGULA_INLINE vu32 quant_row(const std::byte* rows, int r) {
  vu32 quants{};
  unrolled<static_cast<int>(F::planes.size())>([&](auto p) TEGULA_LAMBDA_INLINE {
    constexpr auto plane = static_cast<std::size_t>(p());
    constexpr int bits = F::planes[plane].bits, stored = static_cast<int>(t::panel_layout<F>::plane_rows(plane));
    constexpr int lift = [] {
      int below = 0;
      for (std::size_t q = 0; q < plane; ++q) below += F::planes[q].bits;
      return below;
    }();
    constexpr std::uint32_t mask = ((1u << bits) - 1u) * 0x01010101u;
    const vu32 fields = load<vu32>(rows + t::panel_layout<F>::plane_at(plane) + static_cast<std::size_t>(r % stored) * t::row_bytes);
    // One shift brings a field to its place: down by its position in the byte, up by the planes below it.
    quants |= Shift::down(fields, bits * (r / stored) - lift) & (mask << lift);
  });
  return quants;
}

// Where rows of quants come from: straight from the packed block, or from bytes that unpack_bytes has made.
template <quant_format F>
struct packed_source {
  static constexpr std::size_t block_stride = t::panel_layout<F>::block_quants;
  TEGULA_INLINE static vu32 row(const std::byte* block, int r) { return quant_row<F>(block, r); }
};
template <quant_format F>
struct byte_source {
  static constexpr std::size_t block_stride = static_cast<std::size_t>(F::block_k / 4) * t::row_bytes;
  TEGULA_INLINE static vu32 row(const std::byte* block, int r) { return load<vu32>(block + r * t::row_bytes); }
};

// Four groups' scales (or minima), one a byte of each lane, from the scale words of a block.
template <std::size_t Words>
TEGULA_INLINE vu32 decode_scales(const vu32 (&words)[Words], const scale_code& code) {
  vu32 scales{};
  TEGULA_UNROLL
  for (int i = 0; i < 2; ++i) {
    const byte_field field = code[static_cast<std::size_t>(i)];
    if (field.bits == 0) break;
    const std::uint32_t mask = ((1u << field.bits) - 1u) * 0x01010101u;
    scales |= ((words[field.word] >> field.shift) & mask) << field.to;
  }
  return scales;
}

// The blocks of a super-group of K that has `blocks` of them, and where its parts stand.
template <quant_format F>
struct super_group {
  const std::byte* base;
  std::size_t blocks;

  [[nodiscard]] TEGULA_INLINE const std::byte* words(std::size_t b) const {
    return base + t::panel_layout<F>::words_at(blocks) + b * t::panel_layout<F>::words * t::row_bytes;
  }
  [[nodiscard]] TEGULA_INLINE const std::byte* d(std::size_t b) const { return base + t::panel_layout<F>::d_at(blocks) + b * t::NR * 2; }
  [[nodiscard]] TEGULA_INLINE const std::byte* m(std::size_t b) const { return base + t::panel_layout<F>::m_at(blocks) + b * t::NR * 2; }
};

// Super-group s of a panel of K weights.
template <quant_format F>
TEGULA_INLINE super_group<F> super_group_at(const std::byte* panel, index_t s, index_t K) {
  return {panel + t::panel_layout<F>::super_at(s), t::panel_layout<F>::super_blocks(s, K)};
}

// The scale words of a block, for the columns of one vector.
template <integer_scales F>
struct scale_words {
  vu32 words[F::scale_words];

  TEGULA_INLINE scale_words(const super_group<F>& super, int vector) {
    TEGULA_UNROLL
    for (int w = 0; w < F::scale_words; ++w) {
      words[w] = load<vu32>(super.words(0) + w * t::row_bytes + vector * lanes * 4);
    }
  }
  [[nodiscard]] TEGULA_INLINE vu32 scales(int quad) const { return decode_scales(words, F::scale_codes[static_cast<std::size_t>(quad)]); }
  [[nodiscard]] TEGULA_INLINE vu32 minima(int quad) const { return decode_scales(words, F::min_codes[static_cast<std::size_t>(quad)]); }
};

// Super-groups first .. last - 1 of a panel as bytes, [block][tile row][64].
template <quant_format F>
TEGULA_NOINLINE void unpack_bytes(const std::byte* panel, index_t first, index_t last, index_t K, std::byte* bytes) noexcept {
  for (index_t s = first; s < last; ++s) {
    const auto super = super_group_at<F>(panel, s, K);
    for (std::size_t b = 0; b < super.blocks; ++b, bytes += byte_source<F>::block_stride)
      for (int v = 0; v < panel_vectors; ++v) {
        TEGULA_UNROLL
        for (int r = 0; r < F::block_k / 4; ++r) {
          const auto column = static_cast<std::size_t>(v * lanes * 4);
          store(bytes + r * t::row_bytes + column, quant_row<F>(super.base + b * t::panel_layout<F>::block_quants + column, r));
        }
      }
  }
}
