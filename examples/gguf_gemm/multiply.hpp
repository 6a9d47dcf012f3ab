// The one call of tg::gemm, in a file of its own because it compiles the kernels: every format, ISA and compute mode.
#pragma once

#include <tegula/tegula.hpp>
#include <tegula/thread_pool.hpp>

namespace gguf_gemm {

// C[M, N] = A[M, K] * W[N, K]^T. The kernel's name is left in tg::last_kernel().
void multiply(tegula::matrix_view<const float> a, const tegula::any_packed_matrix& w, tegula::matrix_view<float> c,
              tegula::thread_pool& pool, const tegula::gemm_options& options);

}  // namespace gguf_gemm
