// A task: some blocks of A times some panels. Runs the macro-kernel into rows of NR floats that stay in cache, then the epilogue
// on each row and its way into C.

TEGULA_INLINE void store_result(float* p, float value) { *p = value; }
TEGULA_INLINE void store_result(f16* p, float value) { p->bits = narrow_f16(value); }
TEGULA_INLINE void store_result(bf16* p, float value) { p->bits = narrow_bf16(value); }

// The first `count` columns of a row through the epilogue and into C. Count: index_t, or the constant NR, whose loops are vectors.
template <class T, class Epilogue, class Count>
TEGULA_INLINE void store_row(float (&row)[t::NR], T* target, index_t m, index_t n0, Count count, const Epilogue& epilogue) {
  for (index_t i = 0; i < count; ++i) row[i] = static_cast<float>(epilogue(row[i], m, n0 + i));
  for (index_t i = 0; i < count; ++i) store_result(target + i, row[i]);
}

// Rows of c into C, columns n0 .. n0 + count - 1. A NaN becomes 0x7fc00000 first: which operand's payload an FMA
// passes on is the compiler's choice, and bits must not depend on it.
template <class T, class Epilogue>
TEGULA_INLINE void store_rows(const float* c, index_t m0, index_t rows, matrix_view<T> out, index_t n0, index_t count,
                              const Epilogue& epilogue) {
  for (index_t r = 0; r < rows; ++r) {
    alignas(64) float row[t::NR];
    for (int v = 0; v < panel_vectors; ++v) store(row + v * lanes, canonical_nan(load<vf32>(c + r * t::NR + v * lanes)));
    T* target = out.row(m0 + r) + n0;
    if (count == t::NR) store_row(row, target, m0 + r, n0, std::integral_constant<index_t, t::NR>{}, epilogue);
    else store_row(row, target, m0 + r, n0, count, epilogue);
  }
}

// C of the panels that one M block multiplies before any epilogue runs: Panels side by side for the macro-kernel, and as many of these
// as fit. Few rows leave room for many. (An epilogue after each panel would wait for the panel's last line, the reorder buffer run dry
// and memory rest meanwhile: a sixth of the speed at M = 1.)
template <int Panels, bool Tiles>
struct c_rows {
  alignas(64) float c[Panels * c_stride];
  index_t rows;  // of a panel: whole strips, or the pairs of blocks that tiles work on

  TEGULA_INLINE explicit c_rows(index_t count)
      : rows(t::round_up(count, index_t{Tiles        ? 2 * t::block_rows
                                        : count <= 4 ? 4
                                                     : t::block_rows})) {}
  [[nodiscard]] TEGULA_INLINE index_t panels() const { return t::m_blocks * t::block_rows / rows * Panels; }
  [[nodiscard]] TEGULA_INLINE float* of(index_t panel) { return c + panel % Panels * c_stride + panel / Panels * rows * t::NR; }
  TEGULA_INLINE void clear(index_t count) {  // without a second panel AMX multiplies the first twice
    for (index_t p = 0; p < Panels; ++p)
      __builtin_memset(of(p), 0, static_cast<std::size_t>((count + Panels - 1) / Panels * rows * t::NR) * sizeof(float));
  }
};

// C[M, N] = A * W^T for the blocks of A and the panels in range; the macro-kernel takes up to Panels panels at a time. It comes as a
// pointer, so that this is compiled per element type and epilogue, and not for every format as well.
template <int Panels, bool Tiles, class T, class Epilogue>
TEGULA_NOINLINE void run_panels(const t::activation_store& a, t::task_range range, const t::packed_panels& w, matrix_view<T> out,
                                const Epilogue& epilogue, void (*macrokernel)(const block_product&) noexcept) {
  for (index_t b = range.first_block; b < range.last_block; b += t::m_blocks) {
    t::a_block blocks[t::m_blocks];
    const index_t block_count = range.last_block - b < t::m_blocks ? range.last_block - b : index_t{t::m_blocks};
    for (index_t i = 0; i < block_count; ++i) blocks[i] = a.block(b + i);
    block_product product{blocks, block_count, nullptr, 0, w.K, nullptr};
    const index_t rows = product.rows();
    c_rows<Panels, Tiles> c(rows);
    for (index_t first = range.first_panel; first < range.last_panel; first += c.panels()) {
      const index_t count = range.last_panel - first < c.panels() ? range.last_panel - first : c.panels();
      c.clear(count);
      for (index_t i = 0; i < count; i += Panels) {
        product.panel = w.data + static_cast<std::size_t>(first + i) * w.stride;
        product.panels = count - i < Panels ? static_cast<int>(count - i) : Panels;
        product.following = t::panel_count(out.cols()) - first - i - product.panels;
        product.c = c.of(i);
        macrokernel(product);
      }
      for (index_t i = 0; i < count; ++i) {
        const index_t n0 = (first + i) * t::NR, rest = out.cols() - n0;
        store_rows(c.of(i), b * t::block_rows, rows, out, n0, rest < t::NR ? rest : index_t{t::NR}, epilogue);
      }
    }
  }
}
