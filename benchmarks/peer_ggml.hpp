// Rows gemm/<type>/ggml/<build>/.. and gemm/<type>/ggml+<buffer>/<build>/..: the same products by ggml's CPU backend, in the
// same process. Built with TEGULA_PEER_GGML only.
#pragma once

#include "options.hpp"

namespace bench {

// Rows of one type and M, one for each kind of buffer that takes the product: the default, and those ggml repacks into.
void register_peer(session& s, tg::type_id type, tg::index_t M);

std::string peer_version();

}  // namespace bench
