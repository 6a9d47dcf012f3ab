// A into the form that the kernels read (layout: pack/activations.hpp).
//
// int8, per row and 256 of K: q = round(x * (127 / max|x|)) to nearest even, scale = max|x| * (1 / 127). A group whose largest
// magnitude is below 2^-72 is taken as zeros: then no product of exact mode is ever a denormal float, and its bits do not depend
// on the caller's FTZ and DAZ. A group with an Inf or NaN gets the scale NaN, which reaches its own row of C and no other.

inline constexpr int a_step = t::scale_k;  // of K in a group

// `count` elements, and zeros behind them up to `size`: x itself where there are as many, else made in `buffer`.
template <class T>
TEGULA_INLINE const T* padded(const T* x, index_t count, index_t size, T* buffer) {
  if (count >= size) return x;
  for (index_t i = 0; i < size; ++i) buffer[i] = i < count ? x[i] : T{};
  return buffer;
}

// A group as floats, `count` elements and zeros behind them: the row itself where it is that already, else made in `buffer`.
TEGULA_INLINE const float* widen_group(const float* x, index_t count, float* buffer) { return padded(x, count, a_step, buffer); }
template <class T>
TEGULA_INLINE const float* widen_group(const T* x, index_t count, float* buffer) {
  T elements[a_step];
  x = padded(x, count, a_step, elements);
  for (int i = 0; i < a_step; i += lanes) store(buffer + i, widen<T>(x + i));
  return buffer;
}

// Groups are quantized `lanes` at a time: so what is one number a group is a vector. Every group has a place of its own in the block.
struct group_batch {
  const float* x[lanes];
  index_t row[lanes], group[lanes];
};

// The largest magnitude of each group, as its bits: those of Inf and NaN are above all others.
TEGULA_INLINE vi32 largest_magnitudes(const group_batch& batch) {
  vi32 largest[lanes];
  for (int g = 0; g < lanes; ++g) {
    vi32 two[2]{};
    TEGULA_UNROLL
    for (int i = 0; i < a_step; i += 2 * lanes) {
      TEGULA_UNROLL
      for (int j = 0; j < 2; ++j) two[j] = larger(two[j], load<vi32>(batch.x[g] + i + j * lanes) & 0x7fffffff);
    }
    largest[g] = larger(two[0], two[1]);
  }
  return largest_lanes(largest);
}

// 256 floats to 256 quants, in rows of 64 that are `stride` apart, the sums of every 8 of them, and of those with k % 4 < 2, and of the
// negative ones, of every 16.
TEGULA_INLINE void quantize_group(const float* x, vf32 inverse, std::byte* quants, index_t stride, std::int32_t* sums8,
                                  std::int32_t* first_sums16, std::int32_t* negative_sums16) {
  const auto quant = [&](int i) TEGULA_LAMBDA_INLINE { return round_to_int(load<vf32>(x + i) * inverse); };
  TEGULA_UNROLL
  for (int i = 0; i < a_step; i += 16 * lanes) {
    vi32 sums4[4], first_sums[4], negative_sums[4];
    TEGULA_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int k = i + 4 * j * lanes;
      const vu32 bytes = pack_bytes(quant(k), quant(k + lanes), quant(k + 2 * lanes), quant(k + 3 * lanes));
      store(quants + k / 64 * stride + k % 64, bytes);
      partial_dot<1, 4> all, first_two, negative;
      all.add(splat(0x01010101u), bytes);
      first_two.add(splat(0x00000101u), bytes);
      negative.add((bytes >> 7) & 0x01010101u, bytes);
      sums4[j] = all.total(vi32{});
      first_sums[j] = first_two.total(vi32{});
      negative_sums[j] = negative.total(vi32{});
    }
    store(first_sums16 + i / 16, add_quads(first_sums[0], first_sums[1], first_sums[2], first_sums[3]));
    store(negative_sums16 + i / 16, add_quads(negative_sums[0], negative_sums[1], negative_sums[2], negative_sums[3]));
    store(sums8 + i / 8, add_pairs(sums4[0], sums4[1]));
    store(sums8 + i / 8 + lanes, add_pairs(sums4[2], sums4[3]));
  }
}

// The middle two of every four 16-bit numbers change places.
TEGULA_INLINE vu32 swap_middle(vu32 halves) {
  typedef std::uint64_t vu64 __attribute__((vector_size(4 * lanes)));
  const vu64 quads = vu64(halves), up = (quads & 0xffff0000u) << 16, down = (quads >> 16) & 0xffff0000u;
  return vu32((quads & 0xffff00000000ffffu) | up | down);
}

// The group sums of a batch: of 8, 16 and 32, those of 32 as bf16 pairs (128 * high, low), both integers that bf16 holds, and integer_sums.
struct group_sums {
  alignas(64) std::int32_t of8[lanes][a_step / 8], of16[lanes][t::sums16_per_scale], first_of16[lanes][t::sums16_per_scale],
      negative_of16[lanes][t::sums16_per_scale], of32[lanes][t::sums32_per_scale];
  alignas(64) float sums32[lanes][t::sums32_per_scale];
  alignas(64) std::uint32_t pairs[lanes][t::sums32_per_scale];
  alignas(64) std::int32_t offsets32[lanes][t::sums32_per_scale], negatives32[lanes][t::sums32_per_scale];
  alignas(64) std::uint32_t offsets16[lanes][t::sums16_per_scale];
  alignas(64) std::int16_t offsets8[lanes][a_step / 8], paired32[lanes][t::sums32_per_scale];
  alignas(64) std::int32_t offset256[lanes];

  TEGULA_INLINE void convert() {
    for (int i = 0; i < lanes * a_step / 8; i += 2 * lanes) {
      const vi32 first = load<vi32>(of8[0] + i), second = load<vi32>(of8[0] + i + lanes), sum = add_pairs(first, second);
      store(of16[0] + i / 2, sum);
      const vi32 first_two = load<vi32>(first_of16[0] + i / 2);
      store(offsets16[0] + i / 2, (vu32(first_two * -32) & 0xffffu) | vu32(sum - first_two) * -32u << 16);
      store(offsets8[0] + i, halves(first * -32, second * -32));
    }
    for (int i = 0; i < lanes * t::sums32_per_scale; i += lanes) {
      const vi32 sum = add_pairs(load<vi32>(of16[0] + 2 * i), load<vi32>(of16[0] + 2 * i + lanes));
      const vf32 whole = to_float(sum), low = to_float(sum & 127);
      store(of32[0] + i, sum);
      store(sums32[0] + i, whole);
      store(pairs[0] + i, (vu32(whole - low) >> 16) | vu32(low));
      store(offsets32[0] + i, sum * -128);
      store(negatives32[0] + i, -add_pairs(load<vi32>(negative_of16[0] + 2 * i), load<vi32>(negative_of16[0] + 2 * i + lanes)));
    }
    for (int i = 0; i < lanes * t::sums32_per_scale; i += 2 * lanes)
      store(paired32[0] + i, swap_middle(halves(load<vi32>(of32[0] + i), load<vi32>(of32[0] + i + lanes))));
    vi32 sums128[2];
    TEGULA_UNROLL
    for (int i = 0; i < 2; ++i) {
      const auto at = [&](int j) TEGULA_LAMBDA_INLINE { return load<vi32>(of32[0] + (4 * i + j) * lanes); };
      sums128[i] = add_quads(at(0), at(1), at(2), at(3));
    }
    store(offset256, add_pairs(sums128[0], sums128[1]) * -128);
  }
  TEGULA_INLINE void store_group(int g, const t::mutable_a_block& block, index_t at) const {
    __builtin_memcpy(block.sums32 + at * t::sums32_per_scale, sums32[g], sizeof sums32[g]);
    std::uint16_t* to = block.pairs + at * t::pairs_per_scale;
    __builtin_memcpy(to, pairs[g], sizeof pairs[g]);
    __builtin_memset(to + 2 * t::sums32_per_scale, 0, (t::pairs_per_scale - 2 * t::sums32_per_scale) * sizeof *to);
    t::integer_sums& sums = block.sums[at];
    __builtin_memcpy(sums.offsets32, offsets32[g], sizeof offsets32[g]);
    __builtin_memcpy(sums.negatives32, negatives32[g], sizeof negatives32[g]);
    __builtin_memcpy(sums.offsets8, offsets8[g], sizeof offsets8[g]);
    __builtin_memcpy(sums.offsets16, offsets16[g], sizeof offsets16[g]);
    __builtin_memcpy(sums.sums32, paired32[g], sizeof paired32[g]);
    sums.offset256 = offset256[g];
  }

 private:
  // Numbers that fit, as 16 bits each.
  TEGULA_INLINE static vu32 halves(vi32 a, vi32 b) { return pack_halves(vu32(a) & 0xffffu, vu32(b) & 0xffffu); }
};

// A group that counts as zeros is read as zeros, from `zeros`.
TEGULA_INLINE void quantize_batch(group_batch& batch, const t::mutable_a_block& block, const float* zeros) {
  const vi32 largest = largest_magnitudes(batch), not_finite = largest >= 0x7f800000,
             zero = not_finite | (largest < std::bit_cast<std::int32_t>(0x1p-72f));
  const vf32 max = vf32((~zero & largest) | (zero & std::bit_cast<std::int32_t>(1.f)));
  alignas(64) float inverses[lanes], scales[lanes];
  alignas(64) std::int32_t as_zeros[lanes];
  store(inverses, splat(127.f) / max);
  store(scales, (~zero & vi32(max * splat(1.f / 127.f))) | (not_finite & 0x7fc00000));
  store(as_zeros, zero);

  group_sums sums;
  for (int g = 0; g < lanes; ++g) {
    std::byte* quants = block.tiles + batch.group[g] * (a_step / 64) * block.tile_stride() + batch.row[g] * t::row_bytes;
    quantize_group(as_zeros[g] != 0 ? zeros : batch.x[g], splat(inverses[g]), quants, block.tile_stride(), sums.of8[g], sums.first_of16[g],
                   sums.negative_of16[g]);
  }
  sums.convert();
  for (int g = 0; g < lanes; ++g) {
    const index_t at = batch.group[g] * block.rows + batch.row[g];
    block.scales[at] = scales[g];
    sums.store_group(g, block, at);
  }
}

// 32 quants as bf16 pairs (k, k + 16).
TEGULA_INLINE void quants_to_bf16(const std::byte* quants, std::byte* pairs) {
  typedef std::int8_t bytes __attribute__((vector_size(lanes)));
  for (int i = 0; i < 16; i += lanes) {
    const vf32 low = to_float(__builtin_convertvector(load<bytes>(quants + i), vi32));
    const vf32 high = to_float(__builtin_convertvector(load<bytes>(quants + 16 + i), vi32));
    store(pairs + 4 * i, (vu32(low) >> 16) | vu32(high));  // exact: the low halves are zero
  }
}

// Fills the bf16 tiles of a block from its int8 tiles.
TEGULA_NOINLINE inline void widen_tiles(const t::mutable_a_block& block, index_t int8_tiles) noexcept {
  for (index_t i = 0; i < int8_tiles; ++i)
    for (index_t r = 0; r < block.rows; ++r) {
      const std::byte* quants = block.tiles + i * block.tile_stride() + r * t::row_bytes;
      std::byte* pairs = block.bf16_tiles + 2 * i * block.tile_stride() + r * t::row_bytes;
      quants_to_bf16(quants, pairs);
      quants_to_bf16(quants + 32, pairs + block.tile_stride());
    }
}

// Row by row, so that A is read as one stream. The last batch repeats the last group until it is full.
template <class T>
TEGULA_NOINLINE void quantize_rows(matrix_view<const T> a, index_t first_row, const t::mutable_a_block& block) noexcept {
  alignas(64) float buffer[lanes][a_step];
  alignas(64) constexpr float zeros[a_step]{};
  const auto groups = static_cast<std::uint32_t>(t::round_up(a.cols(), index_t{a_step}) / a_step);
  const std::uint32_t count = groups * static_cast<std::uint32_t>(block.rows);
  for (std::uint32_t first = 0; first < count; first += lanes) {
    group_batch batch;
    for (std::uint32_t i = 0; i < lanes; ++i) {
      const std::uint32_t at = first + i < count ? first + i : count - 1;
      batch.row[i] = at / groups;
      batch.group[i] = at % groups;
      const index_t k = batch.group[i] * a_step;
      batch.x[i] = widen_group(a.row(first_row + batch.row[i]) + k, a.cols() - k, buffer[i]);
    }
    quantize_batch(batch, block, zeros);
  }
  if (block.bf16_tiles != nullptr) widen_tiles(block, groups * (a_step / 64));
}

// A k-tile of a row, 64 bytes, from its elements.
template <class T>
TEGULA_INLINE void convert_tile(const T* x, t::a_kind kind, std::byte* out) {
  if (kind == t::a_kind::f32) {
    for (int i = 0; i < 16; i += lanes) store(out + 4 * i, widen<T>(x + i));
  } else {
    for (int i = 0; i < 32; i += 2 * lanes)
      store(out + 2 * i, pack_halves(round_to_bf16(widen<T>(x + i)), round_to_bf16(widen<T>(x + i + lanes))));
  }
}

template <class T>
TEGULA_NOINLINE void convert_rows(matrix_view<const T> a, index_t first_row, t::a_kind kind, const t::mutable_a_block& block) noexcept {
  const index_t tile_k = t::a_tile_k(kind);
  for (index_t r = 0; r < block.rows; ++r)
    for (index_t k = 0; k < a.cols(); k += tile_k) {
      T elements[32];
      const T* x = padded(a.row(first_row + r) + k, a.cols() - k, tile_k, elements);
      convert_tile(x, kind, block.tiles + k / tile_k * block.tile_stride() + r * t::row_bytes);
    }
}
