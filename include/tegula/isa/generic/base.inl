// What every generic kernel uses: unaligned access, elements as floats, loops that are unrolled for certain, single bytes of 32-bit lanes.
// Re-included inside each ISA's namespace and target region, on top of its simd.inl.

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

// lanes elements as floats.
TEGULA_INLINE vf32 widen(const float* p) { return load<vf32>(p); }
TEGULA_INLINE vf32 widen(const f16* p) { return widen_halves(p); }
TEGULA_INLINE vf32 widen(const bf16* p) {
  typedef std::uint16_t halves __attribute__((vector_size(2 * lanes)));
  return vf32(__builtin_convertvector(load<halves>(p), vu32) << 16);
}

// function(integral_constant<int, i>) for i = 0 .. Count - 1, unrolled.
template <int Count, class Function>
TEGULA_INLINE void unrolled(Function function) {
  [&]<int... I>(std::integer_sequence<int, I...>) TEGULA_LAMBDA_INLINE { (function(std::integral_constant<int, I>{}), ...); }
  (std::make_integer_sequence<int, Count>{});
}

// Byte `j` of every lane, extended to 32 bits.
template <bool Signed>
TEGULA_INLINE vi32 byte_of(vu32 words, int j) {
  if constexpr (Signed) return vi32(words << (24 - 8 * j)) >> 24;
  else return vi32((words >> (8 * j)) & 0xffu);
}

// Byte `j` of every lane less `offset`, as a float: from the significand of 2^23 + byte.
TEGULA_INLINE vf32 byte_to_float(vu32 words, int j, int offset) {
  return vf32(((words >> (8 * j)) & 0xffu) | 0x4b000000u) - (0x1p23f + static_cast<float>(offset));
}

inline constexpr int panel_vectors = detail::NR / lanes;
