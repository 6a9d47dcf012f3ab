// The calls of tg::gemm, in files of their own because they compile the kernels: every format, ISA and compute mode.
#pragma once

#include <tegula/tegula.hpp>
#include <tegula/thread_pool.hpp>

namespace gguf_gemm {

// C[M, N] = A[M, K] * W[N, K]^T. The kernel's name is left in tg::last_kernel().
void multiply(tegula::matrix_view<const float> a, const tegula::any_packed_matrix& w, tegula::matrix_view<float> c,
              tegula::thread_pool& pool, const tegula::gemm_options& options);
void multiply(tegula::matrix_view<const float> a, const tegula::any_sparse_matrix& w, tegula::matrix_view<float> c,
              tegula::thread_pool& pool, const tegula::gemm_options& options);

}  // namespace gguf_gemm
