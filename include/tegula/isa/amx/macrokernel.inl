// The macro-kernel of AMX, which all its kernels share: a chunk of K of a panel or two, unpacked once for the M block, times pairs of
// blocks of A. Units of work run in a pipeline: each stores the accumulators of the unit before and drains them between its own
// products, and between them stand also the steps that unpack B of the next unit of K.
// Included inside namespace tegula::amx and its target region.
//
// A Kernel (plane_kernel, group_kernel, bf16_kernel, byte_kernel, and two of sparse.inl) says what is done between the products:
//   tiles, scales        B of one unit of K, unpacked; tiles::scales is what draining needs of it; `nothing` adds nothing to C
//   scratch              where accumulators are stored
//   unpacker             step(product, unit, i, tiles&) for i = 0 .. unpack_steps - 1, in order, makes the tiles of a unit
//   multiply             a unit: 32 rows x panels x unit_k; calls its last argument `rides` times, between products
//   start, finish        before the first unit, after the last

// Steps of unpacking, spread evenly over the rides of a unit of K. A call, so that a unit of products is one run of code.
template <class Kernel>
struct next_tiles {
  const block_product& p;
  typename Kernel::unpacker& unpacker;
  index_t unit, next, last, per_ride;
  typename Kernel::tiles& b;

  TEGULA_INLINE void operator()() {
    if (next < last) make_some();
  }

 private:
  TEGULA_NOINLINE void make_some() noexcept {
    for (const index_t end = last - next < per_ride ? last : next + per_ride; next < end; ++next) unpacker.step(p, unit, next, b);
  }
};

// Units first .. first + units - 1 of K for the rows of one tile configuration. `b` holds the first, and if `unpacked` all of them.
template <class Kernel>
TEGULA_NOINLINE void multiply_chunk(const block_product& p, const row_pairs& all_rows, index_t first, index_t units,
                                    typename Kernel::tiles* b, bool unpacked, typename Kernel::scratch& scratch) noexcept {
  const row_pairs rows = all_rows;
  typename Kernel::unpacker unpacker;
  index_t parity = 0, before_pair = 0, before_k = first * Kernel::unit_k;
  const typename Kernel::scales* before_scales = &Kernel::nothing;
  const auto before = [&]() TEGULA_LAMBDA_INLINE {
    return pending_unit<typename Kernel::scales>{rows[before_pair], before_k, before_scales};
  };
  const tile_config config(rows.rows);
  const tile_session session(config);
  Kernel::start(rows[0]);
  for (index_t i = 0; i < units; ++i) {
    const index_t k = (first + i) * Kernel::unit_k, steps = unpacked || i + 1 == units ? 0 : Kernel::unpack_steps(p.K);
    const index_t all_rides = rows.count * Kernel::rides;
    next_tiles<Kernel> ride{p, unpacker, first + i + 1, 0, steps, 1 + steps / all_rides, b[steps == 0 ? i : i + 1]};
    for (index_t pair = 0; pair < rows.count; ++pair) {
      Kernel::multiply(p, rows[pair], k, b[i], scratch, parity, before(), ride);
      before_pair = pair, before_k = k, before_scales = &b[i].scales, parity = 1 - parity;
    }
  }
  Kernel::finish(scratch, 1 - parity, before());
}

template <class Kernel>
TEGULA_NOINLINE void unpack_unit(const block_product& p, index_t unit, typename Kernel::tiles& b) noexcept {
  typename Kernel::unpacker unpacker;
  for (index_t i = 0; i < Kernel::unpack_steps(p.K); ++i) unpacker.step(p, unit, i, b);
}

template <class Kernel>
TEGULA_NOINLINE void tile_macrokernel(const block_product& p) noexcept {
  typename Kernel::tiles b[Kernel::chunk];
  typename Kernel::scratch scratch{};  // nothing is drained before the first unit: 0 * what stands here, which must be finite
  const index_t all = (p.K + Kernel::unit_k - 1) / Kernel::unit_k;
  for (index_t first = 0; first < all; first += Kernel::chunk) {
    unpack_unit<Kernel>(p, first, b[0]);
    bool unpacked = false;
    for_each_configuration(p, [&](const row_pairs& rows) TEGULA_LAMBDA_INLINE {
      multiply_chunk<Kernel>(p, rows, first, all - first < Kernel::chunk ? all - first : Kernel::chunk, b, unpacked, scratch);
      unpacked = true;
    });
  }
}
