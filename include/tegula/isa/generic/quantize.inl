// Floats to blocks of bytes, as activations are quantized (activations.inl): q = round(x * (127 / max|x|)), d = max|x| * (1 / 127).

// The last batch repeats the last block until it is full.
template <byte_format F>
TEGULA_NOINLINE void quantize_blocks(const float* weights, std::byte* blocks, index_t count) noexcept {
  static_assert(F::block_k == a_step);
  alignas(64) constexpr float zeros[a_step]{};
  for (index_t first = 0, all = count / a_step; first < all; first += lanes) {
    const index_t left = all - first < lanes ? all - first : index_t{lanes};
    group_batch batch;
    for (index_t i = 0; i < lanes; ++i) batch.x[i] = weights + (first + (i < left ? i : left - 1)) * a_step;
    batch_scales of(batch);
    for (int i = 0; i < left; ++i, blocks += F::block_bytes) {
      alignas(64) std::int32_t sums16[t::sums16_per_scale];
      of.quantize(batch, i, zeros, {blocks + F::quants_at, nullptr, 64}, {sums16, nullptr, nullptr, nullptr});
      __builtin_memcpy(blocks + F::d_at, &of.scales[i], sizeof(float));
    }
  }
}
