// The macro-kernel of the vector ISAs: one M block (up to 512 rows) times one panel, C as rows of NR floats.
// Loops: a chunk of K unpacked once for all rows; blocks of A; strips of MR rows.

inline constexpr index_t chunk_k = 2048;      // of K unpacked at a time: 32 KiB of bytes, which stay in L2
inline constexpr index_t bf16_chunk_k = 512;  // 16 KiB of pairs: stays in L1, as few rows are bound by unpacking

// Calls strip(first, integral_constant<MR>) for strips of MR rows, MR a power of two from Least to Most. A last strip may reach
// past `rows`: the memory is there (activation_store has slack, C whole blocks), and nobody reads what it computes. Fewer strip
// sizes are fewer kernels to compile.
template <int Most, int Least, class Strip>
TEGULA_INLINE void for_each_strip(index_t rows, Strip strip) {
  index_t first = 0;
  if constexpr (Most > Least) {
    for (; rows - first > Most / 2; first += Most) strip(first, std::integral_constant<int, Most>{});
    if (first < rows) for_each_strip<Most / 2, Least>(rows - first, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE { strip(first + m, mr); });
  } else {
    for (; first < rows; first += Most) strip(first, std::integral_constant<int, Most>{});
  }
}

// What a macro-kernel call multiplies: an M block of A and a panel, or a few; C[panel][rows][NR] is zero on entry.
struct block_product {
  const t::activation_store* a;
  index_t first_block, last_block;
  const std::byte* panel;
  int panels;
  index_t K;
  float* c;
  index_t first_k = 0;    // of A, which may be longer than K
  index_t following = 0;  // panels of W behind these

  [[nodiscard]] float* c_of_panel(int i) const { return c + i * c_stride; }

  [[nodiscard]] index_t rows() const {
    return last_block == first_block ? 0 : (last_block - first_block - 1) * t::block_rows + a->block(last_block - 1).rows;
  }
  template <class Function>
  TEGULA_INLINE void for_each_block(Function function) const {
    for (index_t b = first_block; b < last_block; ++b) function(a->block(b, first_k), c + (b - first_block) * t::block_rows * t::NR);
  }
};

// The most rows of A that read the packed panel, and how many at a time.
template <quant_format F>
inline constexpr index_t most_packed = packed_rows(t::traits<F>::bits, F::planes.size(), integer_scales<F>);
template <quant_format F>
inline constexpr int packed_strip = most_packed<F> < exact_rows ? static_cast<int>(most_packed<F>) : exact_rows;

// All of K straight from the packed panels.
template <quant_format F>
TEGULA_INLINE void exact_from_packed(const block_product& p) {
  for (int i = 0; i < p.panels; ++i) {
    const std::byte* panel = p.panel + static_cast<std::size_t>(i) * t::panel_layout<F>::panel_bytes(p.K);
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      for_each_strip<packed_strip<F>, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
        exact_packed_kernel<F, mr()>(block, m, panel, p.K, c + i * c_stride + m * t::NR);
      });
    });
  }
}

// A chunk of K at a time, unpacked for all rows.
template <quant_format F, int Panels>
TEGULA_INLINE void exact_from_unpacked(const block_product& p) {
  constexpr index_t super_k = t::traits<F>::super_k;
  const index_t supers = (p.K + super_k - 1) / super_k;
  unpacked_chunk<F> chunk;
  for (chunk.first = 0; chunk.first < supers; chunk.first = chunk.last) {
    chunk.last = supers - chunk.first < chunk.supers_of_panel ? supers : chunk.first + chunk.supers_of_panel;
    chunk.unpack(p.panel, Panels, p.K);
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      for_each_strip<exact_rows, exact_rows>(
          block.rows, [&](index_t m, auto) TEGULA_LAMBDA_INLINE { exact_unpacked_kernel<F, Panels>(block, m, chunk, p.K, c + m * t::NR); });
    });
  }
}

template <quant_format F>
TEGULA_NOINLINE void exact_macrokernel(const block_product& p) noexcept {
  if constexpr (most_packed<F> > 0)
    if (p.rows() <= most_packed<F>) return exact_from_packed<F>(p);
  if constexpr (exact_panels > 1)
    if (p.panels > 1) return exact_from_unpacked<F, exact_panels>(p);
  exact_from_unpacked<F, 1>(p);
}

template <float_format F>
TEGULA_NOINLINE void exact_macrokernel(const block_product& p) noexcept {
  using element = typename F::element;
  p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
    for_each_strip<max_rows, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
      float_kernel<float, mr()>(block.tiles + m * t::row_bytes, block.tile_stride(), 0, p.K, weights_in_memory<element>{p.panel},
                                c + m * t::NR);
    });
  });
}

// A chunk of K, times all rows.
template <int Offset>
TEGULA_INLINE void multiply_bytes(const block_product& p, const byte_chunk& w) {
  p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
    for_each_strip<byte_rows, 1>(block.rows,
                                 [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE { int8_kernel<mr(), Offset>(block, m, w, c + m * t::NR); });
  });
}

template <byte_format F>
TEGULA_NOINLINE void exact_macrokernel(const block_product& p) noexcept {
  for (index_t k = 0; k < p.K; k += chunk_k)
    multiply_bytes<0>(p, {byte_blocks(p.panel) + k / F::block_k, k, p.K - k < chunk_k ? p.K : k + chunk_k});
}

template <quant_format F>
TEGULA_NOINLINE void requantized_macrokernel(const block_product& p) noexcept {
  t::byte_block blocks[chunk_k / t::scale_k];
  for (index_t k = 0; k < p.K; k += chunk_k) {
    const byte_chunk w{blocks, k, p.K - k < chunk_k ? p.K : k + chunk_k};
    requantize<F, 128>(p.panel, p.K, w.first_k, w.last_k, blocks);
    multiply_bytes<128>(p, w);
  }
}

template <block_format F>
TEGULA_NOINLINE void bf16_macrokernel(const block_product& p) noexcept {
  alignas(64) std::byte buffer[bf16_chunk_k / 2 * t::row_bytes];
  for (index_t k = 0; k < p.K; k += bf16_chunk_k) {
    const index_t count = p.K - k < bf16_chunk_k ? p.K - k : bf16_chunk_k;
    const std::byte* pairs = bf16_chunk<F>(p.panel, p.K, k, count, buffer);
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      for_each_strip<max_rows, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
        float_kernel<bf16, mr()>(block.tiles + m * t::row_bytes, block.tile_stride(), k, count, weights_in_memory<bf16>{pairs},
                                 c + m * t::NR);
      });
    });
  }
}
