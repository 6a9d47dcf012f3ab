// A into the form that the kernels read (layout: pack/activations.hpp).
//
// int8, per row and 256 of K: q = round(x * (127 / max|x|)) to nearest even, scale = max|x| * (1 / 127). A group whose largest
// magnitude is below 2^-72 is taken as zeros: then no product of exact mode is ever a denormal float, and its bits do not depend
// on the caller's FTZ and DAZ. A group with an Inf or NaN gets the scale NaN, which reaches its own row of C and no other.

inline constexpr int a_step = t::scale_k;  // of K that are converted at a time

// 256 floats from row elements [0, count), zeros behind: the row itself where it is that already, else made in `buffer`.
TEGULA_INLINE const float* widen_row(const float* row, index_t count, float* buffer) {
  if (count >= a_step) return row;
  for (index_t i = 0; i < a_step; ++i) buffer[i] = i < count ? row[i] : 0.f;
  return buffer;
}
TEGULA_INLINE const float* widen_row(const f16* row, index_t count, float* buffer) {
  index_t i = 0;
  for (; i < a_step && i + lanes <= count; i += lanes) store(buffer + i, widen_halves(row + i));
  for (; i < a_step; ++i) buffer[i] = i < count ? widen_f16(row[i].bits) : 0.f;
  return buffer;
}
TEGULA_INLINE const float* widen_row(const bf16* row, index_t count, float* buffer) {
  for (index_t i = 0; i < a_step; ++i) buffer[i] = i < count ? widen_bf16(row[i].bits) : 0.f;
  return buffer;
}

TEGULA_INLINE std::uint32_t largest_magnitude_bits(const float* x) {
  vu32 largest{};
  for (int i = 0; i < a_step; i += lanes) {
    const vu32 magnitude = load<vu32>(x + i) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  std::uint32_t result = 0;
  for (int i = 0; i < lanes; ++i) result = largest[i] > result ? largest[i] : result;
  return result;
}

// Group sums of 256 quants: of 16, of 32, and those of 32 as bf16 pairs (128 * high, low), both integers that bf16 holds.
TEGULA_INLINE void store_group_sums(const std::int8_t* quants, float* sums16, float* sums32, std::uint16_t* pairs) {
  alignas(64) std::int32_t sums4[a_step / 4];
  for (int i = 0; i < a_step / 4; i += lanes) {
    partial_dot<1, 4> ones;
    ones.add(splat(0x01010101u), load<vu32>(quants + 4 * i));
    store(sums4 + i, ones.total(vi32{}));
  }
  for (int g = 0; g < t::sums32_per_scale; ++g) {
    const std::int32_t* s = sums4 + 8 * g;
    const int first = s[0] + s[1] + s[2] + s[3], second = s[4] + s[5] + s[6] + s[7], sum = first + second, low = sum & 127;
    sums16[2 * g] = static_cast<float>(first);
    sums16[2 * g + 1] = static_cast<float>(second);
    sums32[g] = static_cast<float>(sum);
    pairs[2 * g] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(sum - low)) >> 16);
    pairs[2 * g + 1] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(low)) >> 16);
  }
  for (int i = 2 * t::sums32_per_scale; i < t::pairs_per_scale; ++i) pairs[i] = 0;
}

// The integer sums of quants 64 * part .. 64 * part + 63 of a group of 256.
TEGULA_INLINE void store_integer_sums(const std::byte* quants, int part, t::integer_sums& sums) {
  typedef std::uint64_t vu64 __attribute__((vector_size(4 * lanes)));
  typedef std::uint16_t halves __attribute__((vector_size(lanes)));
  std::int16_t* of8 = sums.offsets8 + 8 * part;
  for (int i = 0; i < 16; i += lanes) {
    partial_dot<1, 4> ones;
    ones.add(splat(0x01010101u), load<vu32>(quants + 4 * i));
    const vu64 of4 = vu64(ones.total(vi32{}));  // two sums of 4 in each lane; the low half of a lane is right in 32 bits
    store(of8 + i / 2, __builtin_convertvector(0 - ((of4 + (of4 >> 32)) << 5), halves));
  }
  constexpr int place[4] = {0, 2, 1, 3};
  for (int g = 2 * part; g < 2 * part + 2; ++g, of8 += 4) {
    const int offset = of8[0] + of8[1] + of8[2] + of8[3];
    sums.offsets32[g] = 4 * offset;
    sums.sums32[g / 4 * 4 + place[g % 4]] = static_cast<std::int16_t>(-offset / 32);
  }
}

// 256 floats to 256 quants; returns the scale.
TEGULA_INLINE float quantize_256(const float* x, std::int8_t* quants) {
  const std::uint32_t largest = largest_magnitude_bits(x);
  constexpr std::uint32_t infinity = 0x7f800000u, tiny = std::bit_cast<std::uint32_t>(0x1p-72f);
  if (largest >= infinity || largest < tiny) {
    __builtin_memset(quants, 0, a_step);
    return largest >= infinity ? std::bit_cast<float>(0x7fc00000u) : 0.f;
  }
  const float max = std::bit_cast<float>(largest);
  const vf32 inverse = splat(127.f / max);
  for (int i = 0; i < a_step; i += lanes) {
    const vi32 q = round_to_int(load<vf32>(x + i) * inverse);
    typedef std::int8_t bytes __attribute__((vector_size(lanes)));
    store(quants + i, __builtin_convertvector(q, bytes));
  }
  return max * (1.f / 127.f);
}

template <class T>
TEGULA_NOINLINE void quantize_rows(matrix_view<const T> a, index_t first_row, const t::mutable_a_block& block) noexcept {
  alignas(64) float buffer[a_step];
  alignas(64) std::int8_t quants[a_step];
  const index_t groups = t::round_up(a.cols(), index_t{a_step}) / a_step;
  for (index_t s = 0; s < groups; ++s)
    for (index_t r = 0; r < block.rows; ++r) {
      const index_t rest = a.cols() - s * a_step;
      const float* x = widen_row(a.row(first_row + r) + s * a_step, rest, buffer);
      const index_t at = s * block.rows + r;
      block.scales[at] = quantize_256(x, quants);
      for (int i = 0; i < a_step / 64; ++i) {
        std::byte* tile_row = block.tiles + (s * (a_step / 64) + i) * block.tile_stride() + r * t::row_bytes;
        __builtin_memcpy(tile_row, quants + 64 * i, 64);
        store_integer_sums(tile_row, i, block.sums[at]);
      }
      store_group_sums(quants, block.sums16 + at * t::sums16_per_scale, block.sums32 + at * t::sums32_per_scale,
                       block.pairs + at * t::pairs_per_scale);
    }
}

template <class T>
TEGULA_NOINLINE void convert_rows(matrix_view<const T> a, index_t first_row, t::a_kind kind, const t::mutable_a_block& block) noexcept {
  alignas(64) float buffer[a_step];
  const index_t tile_k = t::a_tile_k(kind);
  for (index_t k0 = 0; k0 < a.cols(); k0 += a_step)
    for (index_t r = 0; r < block.rows; ++r) {
      const index_t rest = a.cols() - k0;
      const float* x = widen_row(a.row(first_row + r) + k0, rest, buffer);
      for (index_t k = 0; k < a_step && k < rest; k += tile_k) {
        std::byte* out = block.tiles + (k0 + k) / tile_k * block.tile_stride() + r * t::row_bytes;
        if (kind == t::a_kind::f32) {
          __builtin_memcpy(out, x + k, 64);
        } else {
          alignas(64) std::uint16_t halves[32];
          for (int i = 0; i < 32; ++i) halves[i] = narrow_bf16(x[k + i]);
          __builtin_memcpy(out, halves, 64);
        }
      }
    }
}
