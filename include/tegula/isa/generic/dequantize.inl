// ggml blocks to floats, as they lie in a file: weight = fma(d * scale, q - offset, minimum), rounded once. This is the decoder
// that the tests hold against ggml's own; the kernels never call it. Bound: the memory that is written.

// The fields of quants K .. K + lanes - 1 of a plane, one a lane.
template <quant_format F, std::size_t Plane, int K>
TEGULA_INLINE vu32 plane_fields(const unsigned char* block) {
  using codec = t::plane_codec<F, Plane>;
  if constexpr (t::fields_in_line<F>(Plane, lanes)) {
    constexpr bit_position first = codec::positions[K];
    return ((widen_bytes(block + first.byte) >> first.shift) & (codec::mask & 0xffu)) ^ codec::plane.flip;
  } else {
    vu32 fields{};
    for (int i = 0; i < lanes; ++i) fields[i] = codec::quad(block, static_cast<std::size_t>((K + i) / 4 * 4)) >> ((K + i) % 4 * 8) & 0xffu;
    return fields;
  }
}

template <quant_format F, int K>
TEGULA_INLINE vu32 quants_at(const unsigned char* block) {
  vu32 quants{};
  int lift = 0;
  unrolled<static_cast<int>(F::planes.size())>([&](auto p) TEGULA_LAMBDA_INLINE {
    constexpr auto plane = static_cast<std::size_t>(p());
    quants |= plane_fields<F, plane, K>(block) << lift;
    lift += F::planes[plane].bits;
  });
  return quants;
}

// Each group's scale and minimum, as floats.
template <quant_format F>
struct float_groups {
  float scale[t::traits<F>::groups], minimum[t::traits<F>::groups];

  TEGULA_INLINE explicit float_groups(const unsigned char* block) {
    using traits = t::traits<F>;
    const float d = half_at(block + F::d_at);
    [[maybe_unused]] float m = 0;
    if constexpr (traits::has_min) m = half_at(block + F::m_at);
    if constexpr (integer_scales<F>) {
      std::uint32_t words[F::scale_words];
      __builtin_memcpy(words, block + F::scales_at, sizeof words);
      TEGULA_UNROLL
      for (int g = 0; g < traits::groups; ++g) {
        const auto quad = static_cast<std::size_t>(g / 4);
        const std::uint32_t code = decode_scales(words, F::scale_codes[quad]) >> (g % 4 * 8) & 0xffu;
        scale[g] = d * static_cast<float>(F::signed_scales ? static_cast<std::int8_t>(code) : static_cast<int>(code));
        minimum[g] = m;
        if constexpr (traits::has_min)
          minimum[g] = -(m * static_cast<float>(static_cast<int>(decode_scales(words, F::min_codes[quad]) >> (g % 4 * 8) & 0xffu)));
      }
    } else {
      scale[0] = d;
      minimum[0] = m;
    }
  }

 private:
  TEGULA_INLINE static float half_at(const unsigned char* p) {
    std::uint16_t half;
    __builtin_memcpy(&half, p, 2);
    return widen_f16(half);
  }
};

template <quant_format F>
TEGULA_NOINLINE void dequantize_blocks(const std::byte* blocks, float* out, index_t count) noexcept {
  for (index_t k = 0; k < count; k += F::block_k, blocks += F::block_bytes) {
    const auto* block = reinterpret_cast<const unsigned char*>(blocks);
    const float_groups<F> groups(block);
    unrolled<F::block_k / lanes>([&](auto step) TEGULA_LAMBDA_INLINE {
      constexpr int at = step() * lanes, g = at / F::group_k;
      const vf32 quants = to_float(vi32(quants_at<F, at>(block)) - F::offset);
      if constexpr (t::traits<F>::has_min) store(out + k + at, fma(quants, splat(groups.scale[g]), splat(groups.minimum[g])));
      else store(out + k + at, quants * splat(groups.scale[g]));
    });
  }
}

template <byte_format F>
TEGULA_NOINLINE void dequantize_blocks(const std::byte* blocks, float* out, index_t count) noexcept {
  for (index_t k = 0; k < count; k += F::block_k, blocks += F::block_bytes) {
    const vf32 d = vf32(splat_word(blocks + F::d_at));
    for (int i = 0; i < F::block_k; i += lanes) {
      const vu32 bytes = widen_bytes(blocks + F::quants_at + i);
      store(out + k + i, to_float(vi32(bytes ^ 0x80u) - 128) * d);
    }
  }
}

template <float_format F>
TEGULA_NOINLINE void dequantize_blocks(const std::byte* blocks, float* out, index_t count) noexcept {
  using element = typename F::element;
  index_t k = 0;
  for (; k + lanes <= count; k += lanes) store(out + k, widen<element>(blocks + static_cast<std::size_t>(k) * sizeof(element)));
  if (k == count) return;
  std::byte rest[lanes * sizeof(element)]{};
  const auto left = static_cast<std::size_t>(count - k);
  __builtin_memcpy(rest, blocks + static_cast<std::size_t>(k) * sizeof(element), left * sizeof(element));
  const vf32 last = widen<element>(rest);
  __builtin_memcpy(out + k, &last, left * sizeof(float));
}
