// Softmax in parts: the weights of a row of scores, and the sum of what several rows have mixed. One order: sums in 16 lanes, which are
// halved four times; parts ascending. So the bits are the same on every ISA.

// e^x for x <= 0, within 2 units of the last place: x = n ln 2 + r with |r| <= ln 2 / 2, Taylor's polynomial of degree 7, which leaves
// 6e-9 of the value, and 2^n by the bits of the exponent. 0 below -87, where floats cease to be normal; NaN stays NaN.
TEGULA_INLINE vf32 exp_of_negative(vf32 x) {
  constexpr float least = -87, log2_e = 0x1.715476p+0f, ln_2_high = 0x1.62e4p-1f, ln_2_low = 0x1.7f7d1cp-20f;
  constexpr float inverse_factorials[] = {1, 1, 1.f / 2, 1.f / 6, 1.f / 24, 1.f / 120, 1.f / 720};
  const vi32 n = round_to_int(x * log2_e);
  const vf32 r = fma(to_float(n), splat(-ln_2_low), fma(to_float(n), splat(-ln_2_high), x));
  vf32 power = splat(1.f / 5040);
  TEGULA_UNROLL
  for (int i = 6; i >= 0; --i) power = fma(power, r, splat(inverse_factorials[i]));
  const vu32 scaled = vu32(power) + (vu32(n) << 23);
  return vf32((scaled & vu32(x >= least)) | (vu32(x != x) & 0x7fc00000u));
}

// Vectors of NR lanes, and one number made of all lanes by halving them.
struct panel_of_floats {
  vf32 of[panel_vectors];

  TEGULA_INLINE explicit panel_of_floats(float value) {
    for (vf32& v : of) v = splat(value);
  }
  template <class Operation>
  TEGULA_INLINE float reduce(Operation operation) const {
    alignas(64) float lane[t::NR];
    __builtin_memcpy(lane, of, sizeof lane);
    for (int half = t::NR / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) lane[i] = operation(lane[i], lane[i + half]);
    return lane[0];
  }
};

// Scores first .. last - 1 of `count`, a multiple of NR, become score * scale, the others -Inf.
TEGULA_INLINE void scale_and_mask(float* scores, index_t count, index_t first, index_t last, float scale) {
  for (index_t i = 0; i < count; i += lanes) store(scores + i, load<vf32>(scores + i) * scale);
  for (index_t i = 0; i < first; ++i) scores[i] = -__builtin_inff();
  for (index_t i = last; i < count; ++i) scores[i] = -__builtin_inff();
}

// The largest of `count` scores, a multiple of NR, NaN aside; at least the lowest finite float, so that -Inf - it is -Inf.
TEGULA_INLINE float largest_score(const float* scores, index_t count) {
  panel_of_floats largest(-0x1.fffffep+127f);
  for (index_t i = 0; i < count; i += t::NR) {
    TEGULA_UNROLL
    for (int v = 0; v < panel_vectors; ++v) {
      const vf32 x = load<vf32>(scores + i + v * lanes);
      const vu32 larger = vu32(x > largest.of[v]);
      largest.of[v] = vf32((larger & vu32(x)) | (~larger & vu32(largest.of[v])));
    }
  }
  return largest.reduce([](float a, float b) TEGULA_LAMBDA_INLINE { return a > b ? a : b; });
}

// Scores become weights e^(score - largest). Returns their sum.
TEGULA_INLINE float weights_of_scores(float* scores, index_t count, float largest) {
  panel_of_floats sum(0);
  for (index_t i = 0; i < count; i += t::NR) {
    TEGULA_UNROLL
    for (int v = 0; v < panel_vectors; ++v) {
      float* at = scores + i + v * lanes;
      const vf32 weights = exp_of_negative(load<vf32>(at) - largest);
      store(at, weights);
      sum.of[v] += weights;
    }
  }
  return sum.reduce([](float a, float b) TEGULA_LAMBDA_INLINE { return a + b; });
}

// Row `row` of all parts as one: the mean of their mixes, weighted by e^(largest - the largest of all), which replaces their `largest`.
// `out` has the columns that are wanted.
template <class T>
TEGULA_NOINLINE void join_parts(const t::softmax_parts& parts, index_t count, index_t row, T* out, index_t columns) noexcept {
  const auto number = [&](float* of, index_t part) TEGULA_LAMBDA_INLINE -> float& { return of[part * parts.rows + row]; };
  float largest = number(parts.largest, 0);
  for (index_t i = 1; i < count; ++i) largest = number(parts.largest, i) > largest ? number(parts.largest, i) : largest;
  vf32 sum = splat(0.f);
  for (index_t i = 0; i < count; ++i) {
    const vf32 weight = exp_of_negative(splat(number(parts.largest, i) - largest));
    number(parts.largest, i) = weight[0];
    sum = fma(weight, splat(number(parts.sums, i)), sum);
  }
  for (index_t c = 0; c < columns; c += lanes) {
    vf32 mix = splat(0.f);
    for (index_t i = 0; i < count; ++i)
      mix = fma(splat(number(parts.largest, i)), load<vf32>(parts.mixes + (i * parts.rows + row) * parts.columns + c), mix);
    alignas(64) float result[lanes];
    store(result, canonical_nan(mix / sum));
    for (index_t i = 0; i < lanes && c + i < columns; ++i) store_result(out + c + i, result[i]);
  }
}
