// Rows attention/bf16/<isa>/head_dim:../context:../<dense or sparsity>: one token's attention over a KV cache. One thread.
#pragma once

#include "options.hpp"

namespace bench {

void register_attention(const session& s);

}  // namespace bench
