// Reading a packed panel (layout: pack/panel.hpp): rows of quants from their bit planes, scales from their codes. A micro-kernel
// gets a super-group of weights either packed, as it is decoded with every use, or unpacked once for many rows of A.

// Right by n bits, or left by -n.
TEGULA_INLINE vu32 shift_down(vu32 bits, int n) { return n >= 0 ? bits >> n : bits << -n; }

// How fields come to their place: bits of bytes that stand n above those of Mask are brought there, and all others cleared. Those of all
// bytes, or of the lower bytes of halves of lanes. (amx/rows.inl has another way.)
struct shifted_fields {
  template <std::uint32_t Mask>
  TEGULA_INLINE static vu32 of_bytes(vu32 bytes, int n) {
    return shift_down(bytes, n) & (Mask * 0x01010101u);
  }
  template <std::uint32_t Mask>
  TEGULA_INLINE static vu16 of_lower_bytes(vu32 bytes, int n) {
    return vu16(bytes) >> n & static_cast<std::uint16_t>(Mask);
  }
};

// Of a block's stored rows, the one that has the plane's bits of tile row r.
template <quant_format F, std::size_t Plane>
constexpr std::size_t stored_row(int r) {
  using layout = t::panel_layout<F>;
  constexpr std::size_t plane_at = layout::plane_at(Plane) / t::row_bytes, all = layout::planes_bytes / t::row_bytes;
  constexpr auto tile_rows = static_cast<unsigned>(layout::tile_rows), plane_rows = static_cast<unsigned>(layout::plane_rows(Plane));
  const auto at = static_cast<unsigned>(r);  // unsigned: a shift and a mask where r is no constant
  return at / tile_rows * all + plane_at + at % tile_rows % plane_rows;
}

// By how much the quants of tile row r of a block whose planes are joined stand above the bottom of their bytes.
template <quant_format F>
constexpr int joined_lift(int r) {
  return t::joined_planes<F>::upper(static_cast<unsigned>(r)) ? t::joined_planes<F>::lift : 0;
}

// Tile row r of such a block, its quants as unsigned bytes, moved down by `down`.
template <quant_format F, class Fields = shifted_fields, class Stored>
TEGULA_INLINE vu32 joined_row(const Stored& stored, int r, int down) {
  using joined = t::joined_planes<F>;
  const auto at = static_cast<unsigned>(r), pair = at % joined::pairs;
  const std::size_t first = at / (2 * joined::pairs) * (t::panel_layout<F>::planes_bytes / t::row_bytes);
  const vu32 nibbles = stored(first + pair), middles = stored(first + joined::pairs + joined::middle_row(pair));
  const std::uint32_t mask = joined::upper(at) ? 0xf0f0f0f0u : 0x0f0f0f0fu;
  if constexpr (selects_at_once) {  // from a middle that both rows of a pair share
    const vu32 middle = Fields::template of_bytes<joined::middle>(middles, joined::middle_shift(pair));
    return shift_down(select_bits(mask, nibbles, middle), down);  // what this brings to other bytes is zero
  } else {
    const auto moved = [&](std::uint32_t bits) TEGULA_LAMBDA_INLINE { return down >= 0 ? bits >> down : bits << -down; };
    return (shift_down(nibbles, down) & moved(mask)) |
           (shift_down(middles, joined::middle_shift(pair) + down) & moved(joined::middle * 0x01010101u & ~mask));
  }
}

// Tile row r of a block: [column][k % 4], quants as unsigned bytes, times 2^Lift. stored(i) is the block's stored row i.
template <quant_format F, int Lift = 0, class Fields = shifted_fields, class Stored>
  requires std::is_invocable_v<Stored, std::size_t>
TEGULA_INLINE vu32 quant_row(const Stored& stored, int r) {
  if constexpr (t::joined_planes<F>::applies) {
    return joined_row<F, Fields>(stored, r, joined_lift<F>(r) - Lift);
  } else {
    using layout = t::panel_layout<F>;
    vu32 quants{};
    unrolled<static_cast<int>(F::planes.size())>([&](auto p) TEGULA_LAMBDA_INLINE {
      constexpr auto plane = static_cast<std::size_t>(p());
      constexpr int bits = F::planes[plane].bits;
      constexpr int lift = [] {
        int below = Lift;
        for (std::size_t q = 0; q < plane; ++q) below += F::planes[q].bits;
        return below;
      }();
      constexpr auto rows = static_cast<unsigned>(layout::plane_rows(plane));
      const int field = static_cast<int>(static_cast<unsigned>(r) % layout::tile_rows / rows);
      // At once down by its position in the byte, up by the planes below it.
      quants |= Fields::template of_bytes<((1u << bits) - 1u) << lift>(stored(stored_row<F, plane>(r)), bits * field - lift);
    });
    return quants;
  }
}

// The same with the rows in memory: `rows` points at the first vector of the block's first row.
template <quant_format F, int Lift = 0, class Fields = shifted_fields>
TEGULA_INLINE vu32 quant_row(const std::byte* rows, int r) {
  return quant_row<F, Lift, Fields>([&](std::size_t i) TEGULA_LAMBDA_INLINE { return load<vu32>(rows + i * t::row_bytes); }, r);
}

// Tile rows first .. first + 7 of a block, 32 of K; `rows` points at the first vector of its first row. Stored rows of several planes are
// loaded once: where rows are stored in between, the compiler would load, shift and mask them again.
template <quant_format F, class Fields = shifted_fields>
class eight_rows {
  static constexpr bool one_plane = F::planes.size() == 1, loaded = !one_plane, joined = t::joined_planes<F>::applies;
  static constexpr std::size_t stored_count = loaded ? t::panel_layout<F>::planes_bytes / t::row_bytes : 0;
  static constexpr int field_rows = static_cast<int>(t::panel_layout<F>::plane_rows(0));

 public:
  static constexpr int count = 8;
  static constexpr int bits = one_plane ? F::planes[0].bits : 8;  // of a field, less those below it

  TEGULA_INLINE eight_rows(const std::byte* rows, int first) : rows_(rows), first_(first) {
    if constexpr (loaded) {
      rows += static_cast<std::size_t>(first / count) * (stored_count * t::row_bytes);
      TEGULA_UNROLL
      for (std::size_t i = 0; i < stored_count; ++i) stored_[i] = load<vu32>(rows + i * t::row_bytes);
    }
  }
  // Row first + i, as quant_row has it.
  [[nodiscard]] TEGULA_INLINE vu32 row(int i) const {
    if constexpr (loaded) return quant_row<F, 0, Fields>(stored_row_of_plane(), i);
    else return quant_row<F, 0, Fields>(rows_, first_ + i);
  }
  // Row r of the block, one of these, with its quants where they stand in their bytes, from bit first_bit(r) on.
  [[nodiscard]] TEGULA_INLINE vu32 row_in_place(int r) const {
    if constexpr (one_plane) return load<vu32>(rows_ + static_cast<std::size_t>(r % field_rows) * t::row_bytes);
    else if constexpr (joined) return joined_row<F, Fields>(stored_row_of_plane(), r % count, 0);
    else return row(r % count);
  }
  static constexpr int first_bit(int r) {
    if constexpr (joined) return joined_lift<F>(r);
    else return one_plane ? F::planes[0].bits * (r / field_rows) : 0;
  }

 private:
  [[nodiscard]] TEGULA_INLINE auto stored_row_of_plane() const {
    return [this](std::size_t i) TEGULA_LAMBDA_INLINE { return stored_[i]; };
  }

  const std::byte* rows_;
  int first_;
  vu32 stored_[stored_count + 1];
};

// Four groups' scales (or minima), one a byte, from the scale words of a block. Word: vu32, a column in each lane; or one integer.
template <class Word, std::size_t Words>
TEGULA_INLINE Word decode_scales(const Word (&words)[Words], const scale_code& code) {
  Word scales{};
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

  [[nodiscard]] TEGULA_INLINE const std::byte* quants(std::size_t b) const {
    return base + t::panel_layout<F>::quants_at(blocks) + b * t::panel_layout<F>::block_quants;
  }
  [[nodiscard]] TEGULA_INLINE const std::byte* words(std::size_t b) const { return base + b * t::panel_layout<F>::words * t::row_bytes; }
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

  TEGULA_INLINE scale_words(super_group<F> super, int vector) {
    TEGULA_UNROLL
    for (int w = 0; w < F::scale_words; ++w) {
      words[w] = load<vu32>(super.words(0) + w * t::row_bytes + vector * lanes * 4);
    }
  }
  [[nodiscard]] TEGULA_INLINE vu32 scales(int quad) const { return decode_scales(words, F::scale_codes[static_cast<std::size_t>(quad)]); }
  [[nodiscard]] TEGULA_INLINE vu32 minima(int quad) const { return decode_scales(words, F::min_codes[static_cast<std::size_t>(quad)]); }
};

// A panel of bytes; and row r of a block, for the columns of one vector, as byte + 128.
TEGULA_INLINE const t::byte_block* byte_blocks(const std::byte* panel) { return reinterpret_cast<const t::byte_block*>(panel); }
TEGULA_INLINE vu32 unsigned_row(const t::byte_block& block, int r, int vector) {
  return load<vu32>(block.rows[r] + vector * lanes * 4) ^ 0x80808080u;
}

template <quant_format F>
using dot_of = partial_dot<t::traits<F>::max_quant, F::group_k, F::offset>;

// Where groups start at an offset of 128, quants of fewer bits are moved up in their bytes until that is their offset.
template <quant_format F>
inline constexpr int quant_lift = [] {
  int lift = 0;
  if (float_scales<F> && dot_of<F>::starts_at_offset)
    while (F::offset << lift < 128) ++lift;
  return lift;
}();

// Stored rows that hold a group, and with it those that stand in other bits of the same bytes.
template <quant_format F>
inline constexpr std::size_t shared_rows = [] {
  constexpr std::size_t group_rows = F::group_k / 4, stored = t::panel_layout<F>::plane_rows(0);
  if (F::planes.size() > 1) return t::panel_layout<F>::planes_bytes / t::row_bytes;
  return group_rows < stored ? group_rows : stored;
}();

// The stored rows of a super-group's blocks, as a panel has them.
template <quant_format F>
struct rows_in_panel {
  super_group<F> super;

  [[nodiscard]] TEGULA_INLINE vu32 operator()(std::size_t block, std::size_t stored, int vector) const {
    return load<vu32>(super.quants(block) + stored * t::row_bytes + vector * lanes * 4);
  }
};

// A super-group of weights for the columns from vector `first` on, as micro-kernels read it: quants times 2^quant_lift (in place: with
// the shift that row_shift tells still to come), scales as partial_dot multiplies by them, minima of integer scales in pairs.
//
// A Whole super-group is read as memory likes it, if there are registers: each line once, upwards. (With few rows of A prefetchers must
// keep up, and lines that are read again, in another order, take them up to a third of their speed: Zen 4, Q6_K, M = 1.) So its scales are
// loaded first, and the rows that some groups share by fetch(), when the first of them starts. Where the CPU wants it, what stands as far
// behind them as fetch_distance tells is fetched at the same time. Rows: where stored rows come from; of a Whole super-group, asked once
// for each, upwards.
template <quant_format F, int Vectors, bool InPlace, bool Whole, class Rows = rows_in_panel<F>>
class packed_weights {
 public:
  static constexpr bool unpacked = false, whole = Whole;
  // Quants in place are left where they stand in their bytes: one mask, or what joins planes, and no shift. Rows of a chain stand in the
  // same place, or, of joined planes, first the upper ones and then the others; what they add up to is shifted in between.
  static constexpr bool joined = t::joined_planes<F>::applies;
  static constexpr bool in_place =
      InPlace && t::traits<F>::bits < 8 && (joined ? F::group_k == 32 && F::offset == 0 : F::planes.size() == 1);
  static constexpr int stored_rows = static_cast<int>(t::panel_layout<F>::plane_rows(0));
  static constexpr int chain_rows = in_place && !joined ? stored_rows : F::block_k / 4;
  // The order in which the rows of a group are multiplied.
  static constexpr int nth_row(int r) { return in_place && joined ? r ^ static_cast<int>(t::joined_planes<F>::pairs) : r; }

  // ahead: how far ahead to fetch, in bytes; 0: not at all.
  TEGULA_INLINE packed_weights(super_group<F> super, int first, std::size_t ahead = 0) : packed_weights(super, first, ahead, Rows{super}) {}
  TEGULA_INLINE packed_weights(super_group<F> super, int first, std::size_t ahead, const Rows& rows)
      : super_(super), first_(first), ahead_(ahead), source_(rows) {
    if constexpr (Whole) prefetch<t::panel_layout<F>::quants_at(blocks)>(super_.base);
    if constexpr (integer_scales<F>) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const scale_words<F> words(super, first + v);
        TEGULA_UNROLL
        for (int q = 0; q < quads; ++q) {
          scales_[q][v] = words.scales(q);
          hold(scales_[q][v]);
          if constexpr (t::traits<F>::has_min) {
            minima_[q][v] = words.minima(q);
            hold(minima_[q][v]);
          }
        }
      }
    }
    if constexpr (ordered) {
      load_halves(d_, [&](std::size_t b) TEGULA_LAMBDA_INLINE { return super_.d(b); });
      if constexpr (t::traits<F>::has_min) load_halves(m_, [&](std::size_t b) TEGULA_LAMBDA_INLINE { return super_.m(b); });
    }
  }

  // Precedes the use of a group whose first tile row is `row`.
  TEGULA_INLINE void fetch(std::size_t block, int row) {
    if (row % t::panel_layout<F>::tile_rows >= stored_rows) return;  // a group before it had the same rows
    if constexpr (Whole) prefetch<shared_rows<F> * t::row_bytes>(super_.quants(block) + stored_row<F, 0>(row) * t::row_bytes);
    if constexpr (ordered) {
      TEGULA_UNROLL
      for (std::size_t i = 0; i < shared_rows<F>; ++i) {
        TEGULA_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          rows_[i][v] = source_(block, stored_row<F, 0>(row) + i, first_ + v);
          hold(rows_[i][v]);
        }
      }
    }
  }
  [[nodiscard]] TEGULA_INLINE vu32 row(std::size_t block, int r, int v) const {
    const auto stored = [&](std::size_t i) TEGULA_LAMBDA_INLINE {
      if constexpr (ordered) return rows_[i % shared_rows<F>][v];
      else return source_(block, i, first_ + v);
    };
    if constexpr (in_place && joined) {
      return joined_row<F>(stored, r, 0);
    } else if constexpr (in_place) {
      constexpr std::uint32_t mask = ((1u << t::traits<F>::bits) - 1u) * 0x01010101u;
      return stored(stored_row<F, 0>(r)) & (mask << (t::traits<F>::bits * (r / stored_rows)));
    } else {
      return quant_row<F, quant_lift<F>>(stored, r);
    }
  }
  // By how much sums of products with row r are still to be shifted up, or down if negative.
  static constexpr int row_shift(int r) {
    if constexpr (in_place && joined) return -joined_lift<F>(r);
    else return in_place ? quant_lift<F> - t::traits<F>::bits * (r / stored_rows) : 0;
  }

  [[nodiscard]] TEGULA_INLINE vi32 scale(int g, int v) const {
    return dot_of<F>::template scale_operand<F::signed_scales>(scales_[g / 4][v], g % 4);
  }
  [[nodiscard]] TEGULA_INLINE vi32 minima(int pair, int v) const { return vi32((minima_[pair / 2][v] >> (8 * (pair % 2))) & 0x00ff00ffu); }
  [[nodiscard]] TEGULA_INLINE vf32 d(std::size_t block, int v) const {
    if constexpr (ordered) return d_[block][v];
    else return widen_halves(super_.d(block) + column(v) * 2);
  }
  [[nodiscard]] TEGULA_INLINE vf32 m(std::size_t block, int v) const {
    if constexpr (ordered) return m_[block][v];
    else return widen_halves(super_.m(block) + column(v) * 2);
  }

 private:
  static constexpr bool ordered = Whole && many_registers;
  static constexpr int quads = integer_scales<F> ? t::traits<F>::groups / 4 : 1;
  static constexpr std::size_t blocks = t::traits<F>::super_blocks;

  [[nodiscard]] TEGULA_INLINE std::size_t column(int v) const { return static_cast<std::size_t>((first_ + v) * lanes); }
  // As far behind what is read now. By prefetch_lines Zen 5, M = 1 from memory, is slower: AVX-512 Q8_0 39 to 36 GB/s, Q4_K 37 to 35; AVX2,
  // which has no registers for so many addresses either, Q5_K 38 to 33, Q6_K 39 to 34, and in cache 39 to 33 and 45 to 35.
  template <std::size_t Bytes>
  TEGULA_INLINE void prefetch(const std::byte* read_now) const {
    fetch_ahead(read_now, ahead_, Bytes);
  }
  template <class Place>
  TEGULA_INLINE void load_halves(vf32 (&values)[blocks][Vectors], Place place) {
    TEGULA_UNROLL
    for (std::size_t b = 0; b < blocks; ++b) {
      TEGULA_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        values[b][v] = widen_halves(place(b) + column(v) * 2);
        hold(values[b][v]);
      }
    }
  }

  super_group<F> super_;
  int first_;
  std::size_t ahead_;
  Rows source_;
  vu32 scales_[quads][Vectors], minima_[quads][Vectors];
  vf32 d_[blocks][Vectors], m_[blocks][Vectors];
  vu32 rows_[shared_rows<F>][Vectors];
};

// A super-group unpacked for all rows of an M block. Quants of 8 bits are bytes as they are packed, and stay there.
template <quant_format F>
struct unpacked_super {
  static constexpr std::size_t blocks = t::traits<F>::super_blocks, rows = F::block_k / 4;
  static constexpr bool holds_quants = t::traits<F>::bits < 8;

  alignas(64) std::byte bytes[holds_quants ? blocks * rows * t::row_bytes : 1];
  alignas(64) std::int32_t scales[integer_scales<F> ? t::traits<F>::groups : 1][t::NR];
  alignas(64) std::int32_t minima[integer_scales<F> ? t::traits<F>::groups / 2 : 1][t::NR];
  alignas(64) float d[blocks][t::NR], m[blocks][t::NR];
  const std::byte* quants;

  TEGULA_NOINLINE void unpack(super_group<F> super) noexcept {
    quants = holds_quants ? bytes : super.quants(0);
    const packed_weights<F, panel_vectors, false, false> packed(super, 0);
    const auto store_all = [](void* row, auto vector) TEGULA_LAMBDA_INLINE {
      TEGULA_UNROLL
      for (int v = 0; v < panel_vectors; ++v) store(static_cast<std::byte*>(row) + v * lanes * 4, vector(v));
    };
    for (std::size_t b = 0; b < super.blocks; ++b) {
      if constexpr (holds_quants) {
        TEGULA_UNROLL
        for (int r = 0; r < static_cast<int>(rows); ++r)
          store_all(bytes + (b * rows + static_cast<std::size_t>(r)) * t::row_bytes,
                    [&](int v) TEGULA_LAMBDA_INLINE { return packed.row(b, r, v); });
      }
      store_all(d[b], [&](int v) TEGULA_LAMBDA_INLINE { return packed.d(b, v) * splat(1.f / (1 << quant_lift<F>)); });
      if constexpr (t::traits<F>::has_min) store_all(m[b], [&](int v) TEGULA_LAMBDA_INLINE { return packed.m(b, v); });
    }
    if constexpr (integer_scales<F>) {
      TEGULA_UNROLL
      for (int g = 0; g < t::traits<F>::groups; ++g) store_all(scales[g], [&](int v) TEGULA_LAMBDA_INLINE { return packed.scale(g, v); });
      if constexpr (t::traits<F>::has_min) {
        TEGULA_UNROLL
        for (int p = 0; p < t::traits<F>::groups / 2; ++p)
          store_all(minima[p], [&](int v) TEGULA_LAMBDA_INLINE { return packed.minima(p, v); });
      }
    }
  }
};

// The same super-group of the panels that hold vectors first .. first + Vectors - 1; the next panel's is `stride` further.
template <quant_format F, int Vectors>
class unpacked_weights {
 public:
  static constexpr bool unpacked = true, whole = false, in_place = false;
  static constexpr int chain_rows = F::block_k / 4;

  TEGULA_INLINE unpacked_weights(const unpacked_super<F>* super, index_t stride, int first)
      : super_(super), stride_(stride), first_(first) {}

  TEGULA_INLINE static void fetch(std::size_t, int) {}
  [[nodiscard]] TEGULA_INLINE vu32 row(std::size_t block, int r, int v) const {
    return load<vu32>(super(v).quants + (block * unpacked_super<F>::rows + static_cast<std::size_t>(r)) * t::row_bytes + column(v) * 4);
  }
  static constexpr int nth_row(int r) { return r; }
  static constexpr int row_shift(int) { return 0; }
  [[nodiscard]] TEGULA_INLINE vi32 scale(int g, int v) const { return load<vi32>(super(v).scales[g] + column(v)); }
  [[nodiscard]] TEGULA_INLINE vi32 minima(int pair, int v) const { return load<vi32>(super(v).minima[pair] + column(v)); }
  [[nodiscard]] TEGULA_INLINE vf32 d(std::size_t block, int v) const { return load<vf32>(super(v).d[block] + column(v)); }
  [[nodiscard]] TEGULA_INLINE vf32 m(std::size_t block, int v) const { return load<vf32>(super(v).m[block] + column(v)); }

 private:
  [[nodiscard]] TEGULA_INLINE const unpacked_super<F>& super(int v) const { return super_[v / panel_vectors * stride_]; }
  [[nodiscard]] TEGULA_INLINE std::size_t column(int v) const {
    return static_cast<std::size_t>((Vectors < panel_vectors ? first_ + v : v % panel_vectors) * lanes);
  }

  const unpacked_super<F>* super_;
  index_t stride_;
  int first_;
};
