// What every generic kernel uses: unaligned access, elements as floats, loops that are unrolled for certain, single bytes of 32-bit lanes.
// Re-included inside each ISA's namespace and target region, on top of its simd.inl.

namespace t = tegula::detail;

template <class V>
TEGULA_INLINE V load(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
TEGULA_INLINE void store(void* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}
TEGULA_INLINE vu32 splat_word(const void* p) {
  std::uint32_t word;
  __builtin_memcpy(&word, p, 4);
  return splat(word);
}

// `lanes` elements (float, f16, bf16) as floats.
template <class Element>
TEGULA_INLINE vf32 widen(const void* p) {
  if constexpr (std::is_same_v<Element, float>) return load<vf32>(p);
  else if constexpr (std::is_same_v<Element, f16>) return widen_halves(p);
  else {
    typedef std::uint16_t halves __attribute__((vector_size(2 * lanes)));
    return vf32(__builtin_convertvector(load<halves>(p), vu32) << 16);
  }
}

// A pointer that the compiler knows nothing of: then what stands at constant distances is addressed so. g++ would otherwise compute
// the addresses ahead of a loop, more than there are registers.
TEGULA_INLINE const std::byte* opaque(const std::byte* p) {
  asm("" : "+r"(p));
  return p;
}

// The lines of Bytes from p on, into L1. They may lie behind what there is.
template <std::size_t Bytes>
TEGULA_INLINE void prefetch_lines(const std::byte* p) {
  TEGULA_UNROLL
  for (std::size_t line = 0; line < Bytes; line += 64) __builtin_prefetch(p + line);
}

// The same by one instruction, in a loop: the hardware's prefetchers follow one that goes up line by line, and lose count of many. (Zen 5,
// 64 lines in a turn of a loop, each read by an instruction of its own: 20 GB/s; fetched by as many 37, by one 38; of 36 lines 37 and 41.)
TEGULA_INLINE void prefetch_upwards(const std::byte* p, std::size_t bytes) {
#pragma GCC unroll 1
  for (std::size_t line = 0; line < bytes; line += 64) __builtin_prefetch(p + line);
}

// What stands as far behind so many bytes as fetch_distance tells, 0: nothing.
TEGULA_INLINE void fetch_ahead(const std::byte* read_now, std::size_t distance, std::size_t bytes) {
  if (distance != 0) prefetch_upwards(read_now + distance, bytes);
}

// How far ahead packed weights of F are fetched, where the CPU wants it: quants for few rows of A and where they
// are unpacked, floats for any number. On Zen 5:
// - Floats of 16 bits, half as far again. AVX-512, hardly out of cache, M = 1, 2, 4, 8, against no fetching: BF16 45 to 63, 74 to 119, 125
//   to 191 and 180 to 220 GFLOP/s, F16 43 to 63, 71 to 113, 120 to 182 and 179 to 207; AVX2, M = 1 and 2: BF16 37 to 60 and 64 to 99. (As
//   far as others, M = 1 to 3 would gain 3 % from memory, and lose 12 % there.) F32 35 to 49, 68 to 84 and 115 to 145 from M = 2 on.
// - Integer scales and quants of 8 bits where registers are few, half as far again: AVX2, M = 1 from memory, Q5_K 36 to 38 GB/s, Q6_K 39 to
//   40; Q4_K loses 2 %, as Q8_0 does, which gains 8 % in cache.
// - Float scales where they are many, three quarters: AVX-512, M = 1 from memory, GB/s at 4, 6, 8 and 12 KiB: Q4_0 36, 37, 37, 37, Q4_1 38,
//   39, 39, 38, Q8_0 37, 37, 35, 34; in cache Q4_0 103, 100, 97, 101, Q8_0 83, 86, 87, 88.
template <block_format F>
TEGULA_INLINE std::size_t fetch_distance() {
  constexpr bool further = [] {
    if constexpr (float_format<F>) return t::traits<F>::block_bytes == 2;
    else if constexpr (quant_format<F>) return !many_registers && (integer_scales<F> || t::traits<F>::bits == 8);
    else return false;
  }();
  constexpr bool nearer = float_scales<F> && many_registers;
  return cpu_report().prefetch_ahead * (further ? 6 : nearer ? 3 : 4) / 4;
}

// function(integral_constant<int, i>) for i = 0 .. Count - 1, unrolled.
template <int Count, class Function>
TEGULA_INLINE void unrolled(Function function) {
  [&]<int... I>(std::integer_sequence<int, I...>)
      TEGULA_LAMBDA_INLINE { (function(std::integral_constant<int, I>{}), ...); }(std::make_integer_sequence<int, Count>{});
}

// Every NaN as the quiet NaN 0x7fc00000.
TEGULA_INLINE vf32 canonical_nan(vf32 x) {
  const vu32 bits = vu32(x), nan = vu32((bits & 0x7fffffffu) > 0x7f800000u);
  return vf32((nan & 0x7fc00000u) | (~nan & bits));
}

// Byte `j` of every lane, extended to 32 bits.
template <bool Signed>
TEGULA_INLINE vi32 byte_of(vu32 words, int j) {
  if constexpr (Signed) return vi32(words << (24 - 8 * j)) >> 24;
  else return vi32((words >> (8 * j)) & 0xffu);
}

// The low half of every lane in both its halves.
TEGULA_INLINE vi32 in_both_halves(vi32 x) { return (x & 0xffff) | (x << 16); }

// Byte `j` of every lane less `offset`, as a float: from the significand of 2^23 + byte.
TEGULA_INLINE vf32 byte_to_float(vu32 words, int j, int offset) {
  return vf32(((words >> (8 * j)) & 0xffu) | 0x4b000000u) - (0x1p23f + static_cast<float>(offset));
}

inline constexpr int panel_vectors = t::NR / lanes;

// Kernels sum into rows of NR floats, [panel][row of an M block][NR].
inline constexpr index_t c_stride = t::m_blocks * t::block_rows * t::NR;  // from a panel to the next

// Exact kernels take so many panels at a time, as exact_vectors span, and so much of K, unpacked.
inline constexpr int exact_panels = exact_vectors > panel_vectors ? exact_vectors / panel_vectors : 1;
inline constexpr index_t exact_chunk_k = 512;

inline constexpr int sparse_panels = 2;  // sparse panels come in twos

// Calls function(m, v) for the vectors of MR rows.
template <int MR, int Vectors, class Function>
TEGULA_INLINE void for_each_vector(Function function) {
  TEGULA_UNROLL
  for (int m = 0; m < MR; ++m) {
    TEGULA_UNROLL
    for (int v = 0; v < Vectors; ++v) function(m, v);
  }
}
