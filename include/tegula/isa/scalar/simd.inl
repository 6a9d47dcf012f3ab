// The scalar ISA's vectors: four lanes in plain C++, for every platform. The same vocabulary as avx2/simd.inl and
// avx512/simd.inl; generic/ is written in it.
// Included inside namespace tegula::scalar.

inline constexpr int lanes = 4;
inline constexpr int max_rows = 2;             // of A a micro-kernel call
inline constexpr int paired_rows = 0;          // up to so many rows sum products of even and odd k at once, more one after the other
inline constexpr bool many_registers = false;  // 32 of them
// Up to so many rows of A read the packed panel, quants of so many bits in so many planes, with integer_scales or not, at most packed_strip
// of them at a time; for more it is unpacked first.
constexpr index_t packed_rows(int, std::size_t, bool) { return 0; }
constexpr int packed_strip(int, std::size_t, bool) { return 1; }
inline constexpr int exact_rows = 2;     // of A that an exact micro-kernel multiplies
inline constexpr int exact_vectors = 1;  // of columns that it takes, of unpacked weights
inline constexpr int in_place_rows = 0;  // up to so many of the packed rows leave quants where they stand in their bytes
inline constexpr int byte_rows = 2;      // of A a micro-kernel call, where a sum lasts 256 of K and C stays in memory

typedef std::uint32_t vu32 __attribute__((vector_size(4 * lanes)));
typedef std::int32_t vi32 __attribute__((vector_size(4 * lanes)));
typedef std::uint16_t vu16 __attribute__((vector_size(4 * lanes)));
typedef float vf32 __attribute__((vector_size(4 * lanes)));

TEGULA_INLINE vu32 splat(std::uint32_t x) { return vu32{x, x, x, x}; }
TEGULA_INLINE vf32 splat(float x) { return vf32{x, x, x, x}; }
TEGULA_INLINE vf32 to_float(vi32 x) { return __builtin_convertvector(x, vf32); }

TEGULA_INLINE vf32 fma(vf32 a, vf32 b, vf32 c) {
  vf32 r{};
  for (int i = 0; i < lanes; ++i) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return r;
}

// To the nearest integer, ties to even, of magnitudes up to 2^22: the sum has 1 as its unit, and the integer in its low bits.
TEGULA_INLINE vi32 round_to_int(vf32 x) {
  constexpr float magic = 0x1.8p23f;
#if TEGULA_X86  // a compiler that may use FMA would fuse the sum with the product that x is, which must be rounded first
  asm("" : "+x"(x));
#else
  asm("" : "+m"(x));
#endif
  return vi32(x + magic) - std::bit_cast<std::int32_t>(magic);
}

// Where mask has bits those of a, elsewhere those of b.
inline constexpr bool selects_at_once = false;  // by one operation
TEGULA_INLINE vu32 select_bits(std::uint32_t mask, vu32 a, vu32 b) { return (a & mask) | (b & ~mask); }

TEGULA_INLINE vi32 larger(vi32 a, vi32 b) {
  const vi32 first = a > b;
  return (first & a) | (~first & b);
}
// The larger of a magnitude and that of x, as bits. AVX-512 may pass over a NaN; then missed_nan finds it among the quants.
TEGULA_INLINE vi32 larger_magnitude(vi32 magnitude, vf32 x) { return larger(magnitude, vi32(x) & 0x7fffffff); }

struct missed_nan {
  TEGULA_INLINE void look_at(vu32) {}
  [[nodiscard]] static constexpr bool any() { return false; }
};

// Lane i: the largest lane of v[i].
TEGULA_INLINE vi32 largest_lanes(const vi32 (&v)[lanes]) {
  vi32 r{};
  for (int i = 0; i < lanes; ++i) {
    r[i] = v[i][0];
    for (int j = 1; j < lanes; ++j) r[i] = v[i][j] > r[i] ? v[i][j] : r[i];
  }
  return r;
}

// Integers that fit, as signed bytes: all lanes of a, then of b, c, d.
TEGULA_INLINE vu32 pack_bytes(vi32 a, vi32 b, vi32 c, vi32 d) {
  const auto word = [](vi32 v) TEGULA_LAMBDA_INLINE {
    const vu32 x = vu32(v) & 0xffu;
    return x[0] | x[1] << 8 | x[2] << 16 | x[3] << 24;
  };
  return vu32{word(a), word(b), word(c), word(d)};
}
// Numbers below 2^16 as 16 bits each: all lanes of a, then of b.
TEGULA_INLINE vu32 pack_halves(vu32 a, vu32 b) { return vu32{a[0] | a[1] << 16, a[2] | a[3] << 16, b[0] | b[1] << 16, b[2] | b[3] << 16}; }

// Sums of neighbouring lanes, a's first; all below 2^15.
TEGULA_INLINE vi32 add_pairs(vi32 a, vi32 b) { return vi32{a[0] + a[1], a[2] + a[3], b[0] + b[1], b[2] + b[3]}; }
TEGULA_INLINE vi32 add_quads(vi32 a, vi32 b, vi32 c, vi32 d) {
  const vi32 ab = add_pairs(a, b), cd = add_pairs(c, d);
  return add_pairs(ab, cd);
}

// The upper byte of each half of a lane: those of `even` below those of `odd`.
TEGULA_INLINE vu32 upper_bytes(vu16 even, vu16 odd) { return vu32((even >> 8) | (odd & std::uint16_t{0xff00})); }

// `lanes` unsigned bytes, one a lane.
TEGULA_INLINE vu32 widen_bytes(const void* p) {
  const auto* bytes = static_cast<const unsigned char*>(p);
  return vu32{bytes[0], bytes[1], bytes[2], bytes[3]};
}
TEGULA_INLINE vf32 widen_halves(const void* halves) {  // as widen_f16, without a branch
  std::uint16_t half[lanes];
  __builtin_memcpy(half, halves, sizeof half);
  const vu32 bits{half[0], half[1], half[2], half[3]}, magnitude = bits & 0x7fffu;
  const vu32 special = vu32(magnitude >= 0x7c00u), nan = vu32(magnitude > 0x7c00u), subnormal = vu32(magnitude < 0x0400u);
  const vu32 normal = ((magnitude << 13) + (112u << 23) + (special & (112u << 23))) | (nan & 0x400000u);
  const vu32 small = vu32(to_float(vi32(magnitude)) * 0x1p-24f);
  return vf32((subnormal & small) | (~subnormal & normal) | (bits & 0x8000u) << 16);
}

// Whether sums that are touched once a group are better left in memory.
template <class V>
TEGULA_INLINE void leave_in_memory(V&) {}
// Has a sum in a register, and complete, before what follows: g++ would multiply ahead, and run out of registers.
template <class V>
TEGULA_INLINE void keep_in_register(V&) {}

// Has what was loaded in a register from here on, loaded once and in the order of these calls, where many_registers.
template <class V>
TEGULA_INLINE void hold(V&) {}

// sum + the products of the halves of each lane, as signed 16-bit integers.
TEGULA_INLINE vi32 add_pair_products(vi32 sum, vi32 a, vi32 b) { return sum + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16); }

template <bool Signed>
TEGULA_INLINE vi32 byte_of(vu32 words, int j);  // base.inl

// Dot products of quants (unsigned bytes, at most MaxQuant) and activations (signed bytes, -127 .. 127) over a group of
// Terms weights of K, four at a time in each 32-bit lane; then multiplied by the group's integer scale.
template <int MaxQuant, int Terms, int Offset = 0>
struct partial_dot {
  static constexpr int steps = Terms / 4;            // adds before scaled() must be called
  static constexpr int unscaled_steps = Terms / 4;   // adds before total() must be called
  static constexpr bool starts_at_offset = false;    // true: with a float scale, too, a sum starts with what the offset adds to it
  static constexpr int offset_k = 16;                // of K, whose offset start() takes with an integer scale
  static constexpr bool offset_applied = false;      // true: add() takes quant - offset by itself
  static constexpr bool splits_activations = false;  // true: add() takes activations that split() took apart
  vi32 sum{};

  TEGULA_INLINE void start(vi32 offset) { sum = add_pair_products(vi32{}, offset, vi32(splat(0x00010001u))); }
  TEGULA_INLINE void add(vu32 quants, vu32 activations) {
    for (int j = 0; j < 4; ++j) sum += vi32((quants >> (8 * j)) & 0xffu) * (vi32(activations << (24 - 8 * j)) >> 24);
  }
  // What scaled() takes, of the scale that is byte j of every lane.
  template <bool Signed>
  TEGULA_INLINE static vi32 scale_operand(vu32 scales, int j) {
    return byte_of<Signed>(scales, j);
  }
  TEGULA_INLINE vi32 scaled(vi32 sums, vi32 scale) const { return sums + sum * scale; }
  TEGULA_INLINE vi32 total(vi32 sums) const { return sums + sum; }
};
