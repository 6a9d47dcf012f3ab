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

// The largest magnitude of each group, as its bits: those of Inf and NaN are above all others. (larger_magnitude may miss a NaN.)
TEGULA_INLINE vi32 largest_magnitudes(const group_batch& batch) {
  vi32 largest[lanes];
  for (int g = 0; g < lanes; ++g) {
    vi32 two[2]{};
    TEGULA_UNROLL
    for (int i = 0; i < a_step; i += 2 * lanes) {
      TEGULA_UNROLL
      for (int j = 0; j < 2; ++j) two[j] = larger_magnitude(two[j], load<vf32>(batch.x[g] + i + j * lanes));
    }
    largest[g] = larger(two[0], two[1]);
  }
  return largest_lanes(largest);
}

// Where the quants of a group go: rows of 64 `stride` apart, as bytes and, unless null, as bf16.
struct quant_rows {
  std::byte *bytes, *bf16;
  index_t stride;

  TEGULA_INLINE static quant_rows of(const t::mutable_a_block& block, index_t row, index_t group) {
    const auto at = [&](std::byte* tiles, index_t tile)
                        TEGULA_LAMBDA_INLINE { return tiles + tile * block.tile_stride() + row * t::row_bytes; };
    return {at(block.tiles, group * (a_step / 64)),
            block.has(t::a_part::bf16_tiles) ? at(block.bf16_tiles, group * (a_step / 32)) : nullptr, block.tile_stride()};
  }
};

// 64 quants as bf16, two k-tiles of pairs (k, k + 16).
TEGULA_INLINE void store_bf16(const vi32 (&quants)[64 / lanes], std::byte* rows, index_t stride) {
  constexpr int half = 16 / lanes;
  TEGULA_UNROLL
  for (int v = 0; v < 2 * half; ++v) {
    const int even = v / half * 2 * half + v % half;
    store(rows + v / half * stride + v % half * 4 * lanes, (vu32(to_float(quants[even])) >> 16) | vu32(to_float(quants[even + half])));
  }
}

// Sums of the bytes of each lane, each times 0 or 1.
TEGULA_INLINE vi32 sum_quads(vu32 which, vu32 bytes) {
  partial_dot<1, 4> dot;
  dot.add(which, bytes);
  return dot.total(vi32{});
}

// Where sums of the quants of a group go; null: nobody reads them.
struct quant_sums {
  std::int32_t *of16, *of8, *first_of16, *negative_of16;  // first: of those with k % 4 < 2
};

// 256 floats to quants, with their sums. Returns whether a NaN that larger_magnitude missed is among them; then
// what it made is of no use.
TEGULA_INLINE bool quantize_group(const float* x, vf32 inverse, const quant_rows& to, const quant_sums& sums) {
  constexpr int vectors = a_step / 4 / lanes;
  vi32 sums4[vectors], first_sums4[vectors] = {}, negative_sums4[vectors] = {};
  missed_nan missed;
  TEGULA_UNROLL
  for (int tile = 0; tile < a_step / 64; ++tile) {
    vi32 quants[64 / lanes];
    TEGULA_UNROLL
    for (int v = 0; v < 64 / lanes; ++v) quants[v] = round_to_int(load<vf32>(x + 64 * tile + v * lanes) * inverse);
    TEGULA_UNROLL
    for (int v = 0; v < 64 / lanes; v += 4) {
      const vu32 bytes = pack_bytes(quants[v], quants[v + 1], quants[v + 2], quants[v + 3]);
      store(to.bytes + tile * to.stride + v * lanes, bytes);
      missed.look_at(bytes);
      const int at = (tile * 64 / lanes + v) / 4;
      sums4[at] = sum_quads(splat(0x01010101u), bytes);
      if (sums.first_of16 != nullptr) first_sums4[at] = sum_quads(splat(0x00000101u), bytes);
      if (sums.negative_of16 != nullptr) negative_sums4[at] = sum_quads((bytes >> 7) & 0x01010101u, bytes);
    }
    if (to.bf16 != nullptr) store_bf16(quants, to.bf16 + 2 * tile * to.stride, to.stride);
  }
  TEGULA_UNROLL
  for (int i = 0; i < vectors; i += 4) {
    const auto sums_of_16 = [&](const vi32(&of4)[vectors])
                                TEGULA_LAMBDA_INLINE { return add_quads(of4[i], of4[i + 1], of4[i + 2], of4[i + 3]); };
    store(sums.of16 + i / 4 * lanes, sums_of_16(sums4));
    if (sums.first_of16 != nullptr) store(sums.first_of16 + i / 4 * lanes, sums_of_16(first_sums4));
    if (sums.negative_of16 != nullptr) store(sums.negative_of16 + i / 4 * lanes, sums_of_16(negative_sums4));
  }
  if (sums.of8 != nullptr) {
    TEGULA_UNROLL
    for (int i = 0; i < vectors; i += 2) store(sums.of8 + i / 2 * lanes, add_pairs(sums4[i], sums4[i + 1]));
  }
  return missed.any();
}

// The middle two of every four 16-bit numbers change places.
TEGULA_INLINE vu32 swap_middle(vu32 halves) {
  typedef std::uint64_t vu64 __attribute__((vector_size(4 * lanes)));
  const vu64 quads = vu64(halves), up = (quads & 0xffff0000u) << 16, down = (quads >> 16) & 0xffff0000u;
  return vu32((quads & 0xffff00000000ffffu) | up | down);
}
// Numbers that fit, as 16 bits each.
TEGULA_INLINE vu32 to_halves(vi32 a, vi32 b) { return pack_halves(vu32(a) & 0xffffu, vu32(b) & 0xffffu); }
// Sums of 32 as pairs (128 * high, low) of integers that bf16 holds.
TEGULA_INLINE vu32 to_pairs(vi32 sums) {
  const vf32 low = to_float(sums & 127);
  return (vu32(to_float(sums) - low) >> 16) | vu32(low);
}

// A part for a batch of groups, N numbers each and zeros behind them up to Stride; group g has the place at[g]. make(i) is a vector of
// the batch's numbers from number i on.
template <int N, int Stride = N, class T, class Make>
TEGULA_INLINE void make_part(T* part, const index_t (&at)[lanes], Make make) {
  alignas(64) T numbers[lanes][N];
  for (int i = 0; i < lanes * N; i += 4 * lanes / static_cast<int>(sizeof(T))) store(numbers[0] + i, make(i));
  for (int g = 0; g < lanes; ++g) {
    T* to = part + at[g] * Stride;
    __builtin_memcpy(to, numbers[g], sizeof numbers[g]);
    if constexpr (Stride > N) __builtin_memset(to + N, 0, (Stride - N) * sizeof(T));
  }
}

// The sums of the quants of a batch of groups, and the parts of a block that hold sums.
struct group_sums {
  alignas(64) std::int32_t of8[lanes][t::sums8_per_scale], of16[lanes][t::sums16_per_scale], first_of16[lanes][t::sums16_per_scale],
      negative_of16[lanes][t::sums16_per_scale], of32[lanes][t::sums32_per_scale];

  // Of group g, as far as the block's parts need them.
  TEGULA_INLINE quant_sums of_group(int g, const t::mutable_a_block& block) {
    return {of16[g], block.has(t::a_part::offsets8) ? of8[g] : nullptr, block.has(t::a_part::offsets16) ? first_of16[g] : nullptr,
            block.has(t::a_part::negatives32) ? negative_of16[g] : nullptr};
  }
  TEGULA_INLINE void make_parts(const t::mutable_a_block& block, const index_t (&at)[lanes]) {
    namespace part = t::a_part;
    const auto sums8 = [&](int i) TEGULA_LAMBDA_INLINE { return load<vi32>(of8[0] + i); };
    const auto sums16 = [&](int i) TEGULA_LAMBDA_INLINE { return load<vi32>(of16[0] + i); };
    const auto sums32 = [&](int i) TEGULA_LAMBDA_INLINE { return load<vi32>(of32[0] + i); };
    for (int i = 0; i < lanes * t::sums32_per_scale; i += lanes) store(of32[0] + i, add_pairs(sums16(2 * i), sums16(2 * i + lanes)));
    if (block.has(part::sums32))
      make_part<t::sums32_per_scale>(block.sums32, at, [&](int i) TEGULA_LAMBDA_INLINE { return to_float(sums32(i)); });
    if (block.has(part::offsets16))
      make_part<2 * t::sums16_per_scale>(block.offsets16, at, [&](int i) TEGULA_LAMBDA_INLINE {
        const vi32 first = load<vi32>(first_of16[0] + i / 2);
        return (vu32(first * -32) & 0xffffu) | vu32(sums16(i / 2) - first) * -32u << 16;
      });
    if (block.has(part::negatives32))
      make_part<t::sums32_per_scale>(block.negatives32, at, [&](int i) TEGULA_LAMBDA_INLINE {
        return -add_pairs(load<vi32>(negative_of16[0] + 2 * i), load<vi32>(negative_of16[0] + 2 * i + lanes));
      });
    if (block.has(part::pairs32))
      make_part<2 * t::sums32_per_scale, t::pairs_per_scale>(block.pairs32, at,
                                                             [&](int i) TEGULA_LAMBDA_INLINE { return to_pairs(sums32(i / 2)); });
    if (block.has(part::halves32))
      make_part<t::sums32_per_scale>(block.halves32, at,
                                     [&](int i) TEGULA_LAMBDA_INLINE { return swap_middle(to_halves(sums32(i), sums32(i + lanes))); });
    if (block.has(part::offsets32))
      make_part<t::sums32_per_scale>(block.offsets32, at, [&](int i) TEGULA_LAMBDA_INLINE { return sums32(i) * -128; });
    if (block.has(part::offsets8))
      make_part<t::sums8_per_scale>(block.offsets8, at,
                                    [&](int i) TEGULA_LAMBDA_INLINE { return to_halves(sums8(i) * -32, sums8(i + lanes) * -32); });
    if (block.has(part::offset256))
      make_part<1>(block.offset256, at, [&](int) TEGULA_LAMBDA_INLINE {
        const auto sums128 = [&](int i) TEGULA_LAMBDA_INLINE {
          return add_quads(sums32(i), sums32(i + lanes), sums32(i + 2 * lanes), sums32(i + 3 * lanes));
        };
        return add_pairs(sums128(0), sums128(4 * lanes)) * -128;
      });
  }
};

// The scales of a batch, their inverses, and which groups are not finite.
struct batch_scales {
  alignas(64) float inverses[lanes], scales[lanes];
  alignas(64) std::int32_t of_no_number[lanes];

  TEGULA_INLINE explicit batch_scales(const group_batch& batch) {
    const vi32 largest = largest_magnitudes(batch), not_finite = largest >= 0x7f800000,
               zero = not_finite | (largest < std::bit_cast<std::int32_t>(0x1p-72f));
    const vf32 max = vf32((~zero & largest) | (zero & std::bit_cast<std::int32_t>(1.f)));
    store(inverses, splat(127.f) / max);
    store(scales, (~zero & vi32(max * splat(1.f / 127.f))) | (not_finite & 0x7fc00000));
    store(of_no_number, not_finite);
  }

  // Group g of the batch, read from `zeros` if it is not finite; then its scale is NaN.
  TEGULA_INLINE void quantize(const group_batch& batch, int g, const float* zeros, const quant_rows& to, const quant_sums& sums) {
    const float* x = of_no_number[g] != 0 ? zeros : batch.x[g];
    while (quantize_group(x, splat(inverses[g]), to, sums)) {
      x = zeros;
      scales[g] = std::bit_cast<float>(0x7fc00000);
    }
  }
};

TEGULA_INLINE void quantize_batch(group_batch& batch, const t::mutable_a_block& block, const float* zeros) {
  batch_scales of(batch);
  group_sums sums;
  index_t at[lanes];
  for (int g = 0; g < lanes; ++g) {
    const quant_rows to = quant_rows::of(block, batch.row[g], batch.group[g]);
    of.quantize(batch, g, zeros, to, sums.of_group(g, block));
    at[g] = batch.group[g] * block.rows + batch.row[g];
    block.scales[at[g]] = of.scales[g];
  }
  sums.make_parts(block, at);
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
