// The job on one tensor: may it be multiplied, pack it, multiply it for each M, time it, compare it with the reference.
// It prints nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <tegula/tegula.hpp>
#include <tegula/thread_pool.hpp>

#include "entry.hpp"
#include "gguf/gguf.hpp"
#include "options.hpp"
#include "reference.hpp"

namespace gguf_gemm {

enum class verdict {
  multiply,     // a matrix of a type that tegula has
  vector,       // one dimension or none: norms and biases
  stack,        // more than two dimensions
  unsupported,  // a matrix of a type that tegula does not have
  no_mode,      // a matrix of floats, in requantized mode
};

verdict judge(const entry& e, tg::compute mode = tg::compute::exact);
const char* describe(verdict v);  // "vector, not multiplied", ...

// Of the sparse form of W, run in turn with the dense one.
struct sparse_product {
  std::string kernel;
  double seconds = 0;
  bool same_bits = false;  // as those of the dense product
};

// C = A * W^T for one M.
struct product {
  tg::index_t M = 0;
  std::string kernel;  // as tg::last_kernel() names it
  double seconds = 0;  // of the fastest run
  double nmse = 0;
  std::optional<sparse_product> sparse;
};

// A sparse form, beside the dense one of the same weights.
struct sparse_form {
  double density = 0;
  std::uint64_t bytes = 0;
};

struct outcome {
  const gguf::tensor* tensor = nullptr;
  verdict judged = verdict::multiply;
  std::uint64_t memory = 0;  // bytes that the matrix, its activations and results take
  bool too_large = false;    // memory is above the limit: nothing was run
  double pack_seconds = 0;
  std::uint64_t packed_bytes = 0;
  std::optional<sparse_form> sparse;
  std::vector<product> products;
};

double gflops(const gguf::tensor& t, const product& p);       // 2 M N K / second
double speed_up(const product& p);                            // of the sparse form over the dense one
double weight_gbps(const gguf::tensor& t, const product& p);  // bytes of the tensor in the file, if that is standard, / second

// Standard normal numbers, the same for every tensor: A of M x K is the first M * K of them.
class activations {
 public:
  explicit activations(std::uint64_t seed) : seed_(seed) {}
  std::span<const float> first(std::size_t count);

 private:
  std::uint64_t seed_;
  std::vector<float> values_;
};

// C = A * W^T by one form of W.
using multiplier = std::function<void(tg::matrix_view<const float> a, tg::matrix_view<float> c)>;

class job {
 public:
  job(const gguf::file& file, const options& options);

  int threads() const { return pool_.size(); }
  outcome run(const entry& e);

 private:
  void run_dense(const gguf::tensor& t, outcome& result);
  void run_sparse(const entry& e, outcome& result);
  template <class Matrix>
  multiplier multiplier_of(const Matrix& w);
  // forms: dense, and sparse or none.
  void measure_all(const source_matrix& w, std::span<const multiplier> forms, outcome& result);
  product measure(const source_matrix& w, std::span<const multiplier> forms, tg::index_t M);

  const gguf::file& file_;
  const options& options_;
  tg::thread_pool pool_;
  activations activations_;
};

}  // namespace gguf_gemm
