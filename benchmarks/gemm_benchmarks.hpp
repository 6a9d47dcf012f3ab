// Rows gemm/<type>/<isa>/<mode>/M:../N:../K:.. : tegula's products. The one file that instantiates gemm() for all formats.
#pragma once

#include "options.hpp"

namespace bench {

// Rows of one type and M, for every ISA and mode asked for.
void register_gemm(session& s, tg::type_id type, tg::index_t M);

// C[M, N] of random_activations(M, K) and random_weights<F>(N, K), by the best ISA: what another library's C is compared to.
std::vector<float> reference_product(const session& s, tg::type_id type, tg::index_t M);

}  // namespace bench
