// The sparse kernels; see multiply.hpp.
#include "multiply.hpp"

namespace gguf_gemm {

void multiply(tegula::matrix_view<const float> a, const tegula::any_sparse_matrix& w, tegula::matrix_view<float> c,
              tegula::thread_pool& pool, const tegula::gemm_options& options) {
  tegula::gemm(a, w, c, pool, options);
}

}  // namespace gguf_gemm
