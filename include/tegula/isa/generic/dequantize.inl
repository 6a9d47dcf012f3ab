// ggml blocks to floats, as they lie in a file: weight = fma(d * scale, q - offset, minimum), rounded once. This is the decoder
// that the tests hold against ggml's own; the kernels never call it.

template <quant_format F>
TEGULA_NOINLINE void dequantize_block(const unsigned char* block, float* out) noexcept {
  using traits = t::traits<F>;
  alignas(64) unsigned char quants[F::block_k] = {};
  int lift = 0;
  unrolled<static_cast<int>(F::planes.size())>([&](auto plane) TEGULA_LAMBDA_INLINE {
    using codec = t::plane_codec<F, static_cast<std::size_t>(plane())>;
    for (std::size_t k = 0; k < F::block_k; k += 4) {
      std::uint32_t word;
      __builtin_memcpy(&word, quants + k, 4);
      word |= codec::quad(block, k) << lift;
      __builtin_memcpy(quants + k, &word, 4);
    }
    lift += codec::plane.bits;
  });

  const auto half_at = [&](int at) TEGULA_LAMBDA_INLINE {
    std::uint16_t half;
    __builtin_memcpy(&half, block + at, 2);
    return widen_f16(half);
  };
  // Without a minimum -0 is added: it keeps the sign of a zero, as ggml does.
  const float d = half_at(F::d_at), m = traits::has_min ? half_at(traits::has_min ? F::m_at : 0) : -0.f;
  for (int g = 0; g < traits::groups; ++g) {
    float scale = d, minimum = m;
    if constexpr (integer_scales<F>) {
      const auto decode = [&](const scale_code& code) TEGULA_LAMBDA_INLINE {
        unsigned value = 0;
        for (const byte_field& field : code)
          value |= ((static_cast<unsigned>(block[F::scales_at + 4 * field.word + g % 4]) >> field.shift) & ((1u << field.bits) - 1u))
                   << field.to;
        return value;
      };
      const unsigned code = decode(F::scale_codes[static_cast<std::size_t>(g / 4)]);
      scale = d * static_cast<float>(F::signed_scales ? static_cast<std::int8_t>(code) : static_cast<int>(code));
      if constexpr (traits::has_min) minimum = -(m * static_cast<float>(decode(F::min_codes[static_cast<std::size_t>(g / 4)])));
    }
    for (int k = g * F::group_k; k < (g + 1) * F::group_k; ++k)
      out[k] = __builtin_fmaf(static_cast<float>(quants[k] - F::offset), scale, minimum);
  }
}

template <quant_format F>
void dequantize_blocks(const std::byte* blocks, float* out, index_t count) noexcept {
  for (index_t k = 0; k < count; k += F::block_k, blocks += F::block_bytes)
    dequantize_block<F>(reinterpret_cast<const unsigned char*>(blocks), out + k);
}

template <float_format F>
void dequantize_blocks(const std::byte* blocks, float* out, index_t count) noexcept {
  using element = typename F::element;
  for (index_t k = 0; k < count; ++k) {
    element x;
    __builtin_memcpy(&x, blocks + static_cast<std::size_t>(k) * sizeof x, sizeof x);
    out[k] = static_cast<float>(x);
  }
}
