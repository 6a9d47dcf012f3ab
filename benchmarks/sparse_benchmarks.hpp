// Rows gemm/<type>/<isa>+sparse<percent>/<mode>/..: products with sparse matrices, beside the dense rows of the same run. The one file that
// instantiates gemm() for all sparse formats.
#pragma once

#include "options.hpp"

namespace bench {

// Rows of one type, M and sparsity, for every ISA and mode asked for; none for a type that sparse matrices do not hold.
void register_sparse(session& s, tg::type_id type, tg::index_t M, int percent);

}  // namespace bench
