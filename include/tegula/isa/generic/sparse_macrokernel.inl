// Products with a sparse panel. In exact mode, and by bf16 pairs, few rows of A are multiplied while it is expanded, where the ISA has
// registers for that. For all others a piece of K is expanded to the packed panel that it was, in memory that stays in L1 or L2, and the
// dense kernels run on that. So every mode has its kernel, and its bits.

// Of K at a time: with few rows of A what the kernel multiplies while the next rows are expanded, with more what stays in L2.
inline constexpr index_t sparse_piece_k = 256, sparse_chunk_k = 1024, sparse_piece_rows = 8;

// Two panels at a time. Dense: the macro-kernel of packed panels, how many it takes, and from_sparse for few rows of A, if there is one.
template <class F, class Dense>
TEGULA_NOINLINE void sparse_macrokernel(const block_product& p) noexcept {
  using layout = t::sparse_layout<F>;
  if constexpr (requires { Dense::from_sparse(p); })
    if (p.rows() <= expanded_rows<F>) return Dense::from_sparse(p);
  alignas(64) std::byte packed[Dense::panels * t::panel_layout<F>::panel_bytes(sparse_chunk_k)];
  const index_t step = p.rows() <= sparse_piece_rows ? sparse_piece_k : sparse_chunk_k;
  t::a_block blocks[t::m_blocks];
  block_product piece = p;
  piece.blocks = blocks;
  piece.panel = packed;
  for (index_t k = 0; k < p.K; k += step) {
    for (index_t b = 0; b < p.block_count; ++b) blocks[b] = p.blocks[b].from(k);
    piece.K = p.K - k < step ? p.K - k : step;
    for (int i = 0; i < p.panels; i += Dense::panels) {
      piece.panels = p.panels - i < Dense::panels ? p.panels - i : Dense::panels;
      piece.c = p.c_of_panel(i);
      for (int j = 0; j < piece.panels; ++j)
        expand_units<F>(t::sparse_panel_at(p.panel, i + j), p.K, k / layout::unit_k, layout::units(k + piece.K),
                        packed + static_cast<std::size_t>(j) * t::panel_layout<F>::panel_bytes(piece.K));
      Dense::call(piece);
    }
  }
}
