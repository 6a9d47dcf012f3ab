// A task: some blocks of A times some panels. Runs the macro-kernel into rows of NR floats that stay in cache, then the epilogue
// on each row and its way into C.

TEGULA_INLINE void store_result(float* p, float value) { *p = value; }
TEGULA_INLINE void store_result(f16* p, float value) { p->bits = narrow_f16(value); }
TEGULA_INLINE void store_result(bf16* p, float value) { p->bits = narrow_bf16(value); }

// Rows of c into C, columns n0 .. n0 + count - 1. A NaN becomes the quiet NaN 0x7fc00000 first: which operand's payload an FMA
// passes on is the compiler's choice, and bits must not depend on it.
template <class T, class Epilogue>
TEGULA_INLINE void store_rows(const float* c, index_t m0, index_t rows, matrix_view<T> out, index_t n0, index_t count,
                              const Epilogue& epilogue) {
  for (index_t r = 0; r < rows; ++r) {
    alignas(64) float row[t::NR];
    for (int v = 0; v < panel_vectors; ++v) {
      const vu32 bits = load<vu32>(c + r * t::NR + v * lanes);
      const vu32 nan = vu32((bits & 0x7fffffffu) > 0x7f800000u);
      store(row + v * lanes, (nan & 0x7fc00000u) | (~nan & bits));
    }
    for (index_t i = 0; i < t::NR; ++i)
      if (i < count) row[i] = static_cast<float>(epilogue(row[i], m0 + r, n0 + i));
    T* target = out.row(m0 + r) + n0;
    for (index_t i = 0; i < count; ++i) store_result(target + i, row[i]);
  }
}

// C[M, N] = A * W^T for the blocks of A and the panels in range; the macro-kernel takes up to Panels panels at a time. It comes as a
// pointer, so that this is compiled per element type and epilogue, and not for every format as well.
template <int Panels, class T, class Epilogue>
TEGULA_NOINLINE void run_panels(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> out,
                                const Epilogue& epilogue, void (*macrokernel)(const block_product&) noexcept) {
  alignas(64) float c[Panels * block_product::c_stride];
  for (index_t b = range.first_block; b < range.last_block; b += t::m_blocks)
    for (index_t p = range.first_panel; p < range.last_panel; p += Panels) {
      const int count = range.last_panel - p < Panels ? static_cast<int>(range.last_panel - p) : Panels;
      const block_product product{&a,
                                  b,
                                  range.last_block - b < t::m_blocks ? range.last_block : b + t::m_blocks,
                                  w.data + static_cast<std::size_t>(p) * w.stride,
                                  count,
                                  w.K,
                                  c};
      const index_t rows = product.rows(), kernel_rows = t::round_up(rows, index_t{2 * t::block_rows});  // AMX works on pairs of blocks
      for (int i = 0; i < Panels; ++i)  // without a second panel AMX multiplies the first twice
        __builtin_memset(product.c_of_panel(i), 0, static_cast<std::size_t>(kernel_rows * t::NR) * sizeof(float));
      macrokernel(product);
      for (int i = 0; i < count; ++i) {
        const index_t n0 = (p + i) * t::NR, rest = out.cols() - n0;
        store_rows(product.c_of_panel(i), b * t::block_rows, rows, out, n0, rest < t::NR ? rest : index_t{t::NR}, epilogue);
      }
    }
}
