// The scalar ISA's vectors: four lanes in plain C++, for every platform. The same vocabulary as avx2/simd.inl and
// avx512/simd.inl; generic/ is written in it.
// Included inside namespace tegula::scalar.

inline constexpr int lanes = 4;
inline constexpr int max_rows = 2;                  // of A a micro-kernel call
inline constexpr int wide_rows = 0;                 // up to so many rows take the whole panel at once
inline constexpr int packed_rows = 0;               // up to so many rows of A read the packed panel; for more it is unpacked first
inline constexpr index_t packed_rows_of_bytes = 0;  // the same for quants of 8 bits, which are bytes as they are packed
inline constexpr bool has_32_registers = false;
inline constexpr int exact_rows = 2;     // of A that an exact micro-kernel multiplies with unpacked weights
inline constexpr int exact_vectors = 1;  // of columns that it takes
inline constexpr int in_place_rows = 0;  // up to so many of the packed_rows leave quants where they stand in their bytes

typedef std::uint32_t vu32 __attribute__((vector_size(4 * lanes)));
typedef std::int32_t vi32 __attribute__((vector_size(4 * lanes)));
typedef float vf32 __attribute__((vector_size(4 * lanes)));

TEGULA_INLINE vu32 splat(std::uint32_t x) { return vu32{x, x, x, x}; }
TEGULA_INLINE vf32 splat(float x) { return vf32{x, x, x, x}; }
TEGULA_INLINE vf32 to_float(vi32 x) { return __builtin_convertvector(x, vf32); }

TEGULA_INLINE vf32 fma(vf32 a, vf32 b, vf32 c) {
  vf32 r{};
  for (int i = 0; i < lanes; ++i) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return r;
}

// To the nearest integer, ties to even.
TEGULA_INLINE vi32 round_to_int(vf32 x) {
  vi32 r{};
  for (int i = 0; i < lanes; ++i) r[i] = static_cast<std::int32_t>(__builtin_rintf(x[i]));
  return r;
}

TEGULA_INLINE vf32 widen_halves(const void* halves) {
  vf32 r{};
  for (int i = 0; i < lanes; ++i) {
    std::uint16_t half;
    std::memcpy(&half, static_cast<const std::byte*>(halves) + 2 * i, 2);
    r[i] = widen_f16(half);
  }
  return r;
}

// Whether sums that are touched once a group are better left in memory.
template <class V>
TEGULA_INLINE void leave_in_memory(V&) {}

// sum + the products of the halves of each lane, as signed 16-bit integers.
TEGULA_INLINE vi32 add_pair_products(vi32 sum, vi32 a, vi32 b) { return sum + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16); }

// Dot products of quants (unsigned bytes, at most MaxQuant) and activations (signed bytes, -127 .. 127) over a group of
// Terms weights of K, four at a time in each 32-bit lane; then multiplied by the group's integer scale.
template <int MaxQuant, int Terms, int Offset = 0>
struct partial_dot {
  static constexpr int steps = Terms / 4;           // adds before scaled() must be called
  static constexpr int unscaled_steps = Terms / 4;  // adds before total() must be called
  static constexpr bool starts_at_offset = false;   // true: a sum is started with what the offset adds to it
  static constexpr bool offset_applied = false;     // true: add() takes quant - offset by itself
  vi32 sum{};

  TEGULA_INLINE void add(vu32 quants, vu32 activations) {
    for (int j = 0; j < 4; ++j) sum += vi32((quants >> (8 * j)) & 0xffu) * (vi32(activations << (24 - 8 * j)) >> 24);
  }
  TEGULA_INLINE static vi32 scale_operand(vi32 scale) { return scale; }
  TEGULA_INLINE static vi32 scale_of(vi32 operand) { return operand; }
  TEGULA_INLINE vi32 scaled(vi32 sums, vi32 scale) const { return sums + sum * scale; }
  TEGULA_INLINE vi32 total(vi32 sums) const { return sums + sum; }
};
