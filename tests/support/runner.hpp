// Products with every choice made at run time: format, mode, ISA, element types, epilogue, executor. All kernels are instantiated
// here, once (runner_shard.cpp), and no test file pays for them again.
#pragma once

#include <tegula/gemm.hpp>

#include <variant>

#include "data.hpp"

namespace tests {

// Any callable (float, m, n) -> float behind a pointer; it must outlive the call.
struct epilogue_ref {
  float (*call)(const void*, float, tg::index_t, tg::index_t) = nullptr;
  const void* object = nullptr;

  epilogue_ref() = default;
  template <class E>
  explicit epilogue_ref(const E& e)
      : call([](const void* o, float v, tg::index_t m, tg::index_t n) { return static_cast<float>((*static_cast<const E*>(o))(v, m, n)); }),
        object(&e) {}
  float operator()(float v, tg::index_t m, tg::index_t n) const { return call == nullptr ? v : call(object, v, m, n); }
};

// Any executor behind a pointer; serial if there is none.
class executor_ref {
 public:
  executor_ref() = default;
  template <class E>
  explicit executor_ref(E& e)
      : run_([](void* o, tg::index_t n, void (*task)(void*, tg::index_t), void* context) {
          static_cast<E*>(o)->parallel_for(n, [&](tg::index_t i) { task(context, i); });
        }),
        object_(const_cast<std::remove_const_t<E>*>(&e)) {}

  template <class F>
  void parallel_for(tg::index_t n, F&& f) {
    const auto task = [](void* context, tg::index_t i) { (*static_cast<std::remove_reference_t<F>*>(context))(i); };
    if (run_ != nullptr) {
      run_(object_, n, task, &f);
    } else {
      for (tg::index_t i = 0; i < n; ++i) f(i);
    }
  }

 private:
  void (*run_)(void*, tg::index_t, void (*)(void*, tg::index_t), void*) = nullptr;
  void* object_ = nullptr;
};

using input = std::variant<tg::matrix_view<const float>, tg::matrix_view<const tg::f16>, tg::matrix_view<const tg::bf16>>;
using output = std::variant<tg::matrix_view<float>, tg::matrix_view<tg::f16>, tg::matrix_view<tg::bf16>>;

struct call {
  tg::gemm_options options{};
  epilogue_ref epilogue{};
  executor_ref executor{};
};

// Weights, dense or sparse; they must outlive the call.
class weights_ref {
 public:
  weights_ref(const tg::any_packed_matrix& w) : weights_(&w) {}  // NOLINT: conversions are what is wanted
  weights_ref(const tg::any_sparse_matrix& w) : weights_(&w) {}  // NOLINT

  // Calls function(const packed_matrix<F>&) or function(const sparse_matrix<F>&).
  template <class Function>
  decltype(auto) visit(Function&& function) const {
    return std::visit([&](const auto* w) -> decltype(auto) { return w->visit(function); }, weights_);
  }
  [[nodiscard]] tg::index_t rows() const {
    return visit([](const auto& w) { return w.rows(); });
  }
  [[nodiscard]] tg::index_t cols() const {
    return visit([](const auto& w) { return w.cols(); });
  }
  [[nodiscard]] tg::type_id type() const {
    return visit([](const auto& w) { return w.type(); });
  }

 private:
  std::variant<const tg::any_packed_matrix*, const tg::any_sparse_matrix*> weights_;
};

tg::any_packed_matrix pack(const block_info& type, const void* blocks, tg::index_t N, tg::index_t K);
tg::quantized_activations prepare(const input& a, weights_ref w, const call& how = {});
void multiply(const tg::quantized_activations& a, weights_ref w, const output& c, const call& how = {});
void multiply(const input& a, weights_ref w, const output& c, const call& how = {});
// C[M, N] of A[M, K], row-major without gaps.
std::vector<float> multiply(const std::vector<float>& a, tg::index_t M, weights_ref w, const call& how = {});

// The ISAs that run here, scalar first.
std::vector<tg::isa> isas_here();
// Whose kernel a product of dense weights runs, which last_kernel() names: what an ISA has no kernel of its own for is another one's.
tg::isa kernels_of(tg::isa isa, const block_info& type, tg::compute mode);
// Whether AVX-512 has all here that expands sparse weights; else AVX2 multiplies them.
inline bool avx512_expands() {
  const tg::cpu_description& cpu = tg::cpu_report();
  return cpu.has("avx512_vbmi2") && cpu.has("gfni") && cpu.has("avx512_vpopcntdq");
}
// Whether a product in bf16 mode is summed in the order of VDPBF16PS.
inline bool sums_by_pairs(tg::isa isa) { return isa == tg::isa::avx512 && tg::cpu_report().bf16_pairs; }
inline call on(tg::isa isa, tg::compute mode = tg::compute::exact) { return {.options = {.isa = isa, .compute = mode}}; }

// The modes that a type has.
std::vector<tg::compute> modes_of(const block_info& type);

// Where two results differ, bit for bit: "C[3, 17] is 0x1.8p+1, expected 0x1p+1 (5 of 612 differ)"; empty if nowhere.
std::string difference(const std::vector<float>& c, const std::vector<float>& expected, tg::index_t N);

namespace detail {
inline constexpr int shards = 4;  // translation units that share out the formats
template <int Shard>
void multiply_in(const tg::quantized_activations& a, weights_ref w, const output& c, const call& how);
template <>
void multiply_in<0>(const tg::quantized_activations&, weights_ref, const output&, const call&);
template <>
void multiply_in<1>(const tg::quantized_activations&, weights_ref, const output&, const call&);
template <>
void multiply_in<2>(const tg::quantized_activations&, weights_ref, const output&, const call&);
template <>
void multiply_in<3>(const tg::quantized_activations&, weights_ref, const output&, const call&);
}  // namespace detail

}  // namespace tests
