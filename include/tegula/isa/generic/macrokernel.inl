// The macro-kernels of the vector ISAs: one M block (up to 512 rows) times a panel, or a few, C as rows of NR floats.
// Loops: a chunk of K unpacked once for all rows; blocks of A; strips of MR rows.

inline constexpr index_t chunk_k = 2048;      // of K unpacked at a time: 32 KiB of bytes, which stay in L2
inline constexpr std::size_t float_chunk_bytes = 32768;  // of float panels, in L1
inline constexpr index_t bf16_chunk_k = 512;  // 16 KiB of pairs: stays in L1, as few rows are bound by unpacking

// The next smaller strip: 8, 6, 4, 2, 1. Fewer sizes are fewer kernels to compile, and an odd row costs little.
constexpr int less_than_strip(int rows) { return rows > 8 ? 8 : rows > 4 ? (rows - 1) / 2 * 2 : rows / 2; }

// Calls strip(first, integral_constant<MR>) for strips of MR rows, MR Most or smaller, from Least on. A last strip may reach past `rows`:
// the memory is there (activation_store has slack, C whole blocks), and nobody reads what it computes.
template <int Most, int Least, class Strip>
TEGULA_INLINE void for_each_strip(index_t rows, Strip strip) {
  index_t first = 0;
  if constexpr (Most > Least) {
    constexpr int next = less_than_strip(Most);
    for (; rows - first > next; first += Most) strip(first, std::integral_constant<int, Most>{});
    if (first < rows) for_each_strip<next, Least>(rows - first, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE { strip(first + m, mr); });
  } else {
    for (; first < rows; first += Most) strip(first, std::integral_constant<int, Most>{});
  }
}

// What a macro-kernel call multiplies: an M block of A and a panel, or a few; C[panel][rows][NR] is zero on entry.
struct block_product {
  const t::a_block* blocks;
  index_t block_count;
  const std::byte* panel;
  int panels;
  index_t K;
  float* c;
  index_t following = 0;  // panels of W behind these

  [[nodiscard]] float* c_of_panel(int i) const { return c + i * c_stride; }

  [[nodiscard]] index_t rows() const { return (block_count - 1) * t::block_rows + blocks[block_count - 1].rows; }
  template <class Function>
  TEGULA_INLINE void for_each_block(Function function) const {
    for (index_t i = 0; i < block_count; ++i) function(blocks[i], c + i * t::block_rows * t::NR);
  }
};

// The most rows of A that read the packed panel.
template <quant_format F>
inline constexpr index_t most_packed = packed_rows(t::traits<F>::bits, F::planes.size(), integer_scales<F>);

// All of K straight from the packed panels.
template <quant_format F>
TEGULA_INLINE void exact_from_packed(const block_product& p) {
  for (int i = 0; i < p.panels; ++i) {
    const std::byte* panel = p.panel + static_cast<std::size_t>(i) * t::panel_layout<F>::panel_bytes(p.K);
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      for_each_strip<most_of_strip<F>, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
        exact_packed_kernel<F, mr()>(block, m, panel, p.K, c + i * c_stride + m * t::NR);
      });
    });
  }
}

// Fetches Bytes of each of a few panels, `stride` apart, a share with every strip of Rows: at once it would take as long as memory does.
// Into L1, or, where that is full, into L2.
template <int Panels, int Rows, std::size_t Bytes, bool IntoL1>
class shared_fetch {
 public:
  TEGULA_INLINE shared_fetch(const std::byte* at, std::size_t stride, index_t rows) : at_(at), stride_(stride) {
    const std::size_t strips = (static_cast<std::size_t>(rows) + Rows - 1) / Rows;
    lines_ = (Bytes / 64 + strips - 1) / strips;
  }
  TEGULA_INLINE void operator()() {
    for (std::size_t i = 0; i < lines_; ++i, at_ += 64) {
      TEGULA_UNROLL
      for (std::size_t panel = 0; panel < Panels; ++panel) __builtin_prefetch(at_ + panel * stride_, 0, IntoL1 ? 3 : 2);
    }
  }

 private:
  const std::byte* at_;
  std::size_t stride_, lines_;
};

// A chunk of K at a time, unpacked for all rows, while the next is fetched. (Zen 5, AVX-512, from memory, GFLOP/s with M = 32 and 128:
// Q4_0 606 to 721 and 717 to 755, Q8_0 462 to 724 and 651 to 765, Q4_K 545 to 665 and 635 to 688.)
template <quant_format F, int Panels>
TEGULA_INLINE void exact_from_unpacked(const block_product& p) {
  using fetch_next = shared_fetch<Panels, exact_rows, unpacked_chunk<F>::bytes_of_panel, true>;
  constexpr index_t super_k = t::traits<F>::super_k;
  const index_t supers = (p.K + super_k - 1) / super_k;
  unpacked_chunk<F> chunk;
  for (chunk.first = 0; chunk.first < supers; chunk.first = chunk.last) {
    chunk.last = supers - chunk.first < chunk.supers_of_panel ? supers : chunk.first + chunk.supers_of_panel;
    chunk.unpack(p.panel, Panels, p.K);
    fetch_next fetch(chunk.next(p.panel, Panels, p.K), t::panel_layout<F>::panel_bytes(p.K), p.rows());
    p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
      for_each_strip<exact_rows, exact_rows>(block.rows, [&](index_t m, auto) TEGULA_LAMBDA_INLINE {
        fetch();
        exact_unpacked_kernel<F, Panels>(block, m, chunk, p.K, c + m * t::NR);
      });
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

// `count` of K from k on, times all rows; before() is called before each strip of them.
template <class AElement, class Weights, class Before>
TEGULA_INLINE void multiply_floats(const block_product& p, index_t k, index_t count, const Weights& weights, Before before) {
  p.for_each_block([&](const t::a_block& block, float* c) TEGULA_LAMBDA_INLINE {
    for_each_strip<max_rows / Weights::panels, 1>(block.rows, [&](index_t m, auto mr) TEGULA_LAMBDA_INLINE {
      before();
      float_kernel<AElement, mr()>(block.tiles + m * t::row_bytes, block.tile_stride(), k, count, weights, c + m * t::NR);
    });
  });
}
inline constexpr auto nothing_before = [] {};

// `count` of K of a panel as floats, [k][n]; behind an odd count a row of zeros.
template <class Element>
TEGULA_NOINLINE void widen_panel(const std::byte* panel, index_t count, float* floats) noexcept {
  for (index_t k = 0; k < count; k += 2, panel += weight_rows<Element>::pair_bytes, floats += 2 * t::NR) {
    TEGULA_UNROLL
    for (int v = 0; v < panel_vectors; ++v) {
      vf32 even, odd{};
      if (k + 1 < count) weight_rows<Element>::pair(panel, v, even, odd);
      else even = weight_rows<Element>::single(panel, v);
      store(floats + v * lanes, even);
      store(floats + t::NR + v * lanes, odd);
    }
  }
}

// A chunk of K stays in L1 as floats, while the next is fetched. From how many rows of A on that pays where two panels share a row's
// activations (Zen 5, AVX-512, M = 64 and 256: BF16 200 to 209 and 204 to 217 GFLOP/s, F16 196 to 209 and 198 to 215, F32 175 to 206 and
// 185 to 221). AVX2, half as fast, would gain nothing by it, and lose 3 % with BF16 and F16.
inline constexpr index_t rows_for_chunks = 33;

template <float_format F, int Panels>
TEGULA_INLINE void exact_floats_by_chunks(const block_product& p) {
  using element = typename F::element;
  constexpr bool widened = sizeof(element) < 4;
  constexpr index_t chunk = static_cast<index_t>(float_chunk_bytes / Panels / (t::NR * sizeof(float)));
  constexpr std::size_t chunk_bytes = static_cast<std::size_t>(chunk) * t::NR * sizeof(element);
  constexpr std::size_t floats_stride = static_cast<std::size_t>(chunk) * t::NR;
  using fetch_next = shared_fetch<Panels, max_rows / Panels, chunk_bytes, false>;
  alignas(64) float floats[widened ? Panels * floats_stride : 1];
  const std::size_t stride = t::panel_layout<F>::panel_bytes(p.K);
  const std::byte* at = p.panel;
  for (index_t k = 0; k < p.K; k += chunk, at += chunk_bytes) {
    const bool last = p.K - k <= chunk;
    const index_t count = last ? p.K - k : chunk;
    fetch_next fetch(last ? p.panel + Panels * stride : at + chunk_bytes, stride, p.rows());
    weights_in_memory<float, Panels, true> weights{at, stride};
    if constexpr (widened) {
      for (std::size_t i = 0; i < Panels; ++i) widen_panel<element>(at + i * stride, count, floats + i * floats_stride);
      weights = {reinterpret_cast<const std::byte*>(floats), floats_stride * sizeof(float)};
    }
    multiply_floats<float>(p, k, count, weights, fetch);
  }
}

// Few rows read all of K straight, a panel at a time: as one stream it comes faster from memory.
template <float_format F>
TEGULA_NOINLINE void exact_macrokernel(const block_product& p) noexcept {
  using element = typename F::element;
  const std::size_t ahead = fetch_distance<F>();
  if constexpr (exact_panels > 1)
    if (p.rows() >= rows_for_chunks) return p.panels > 1 ? exact_floats_by_chunks<F, exact_panels>(p) : exact_floats_by_chunks<F, 1>(p);
  block_product one = p;
  for (int i = 0; i < p.panels; ++i, one.panel += t::panel_layout<F>::panel_bytes(p.K)) {
    one.c = p.c_of_panel(i);
    multiply_floats<float>(one, 0, p.K, weights_in_memory<element>{one.panel, 0, ahead}, nothing_before);
  }
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
    multiply_floats<bf16>(p, k, count, weights_in_memory<bf16>{pairs}, nothing_before);
  }
}
