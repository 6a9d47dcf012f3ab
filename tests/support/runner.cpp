#include "runner.hpp"

#include <cstdio>
#include <cstring>

namespace tests {

tg::any_packed_matrix pack(const block_info& type, const void* blocks, tg::index_t N, tg::index_t K) {
  return tg::pack(type.id, blocks, {.N = N, .K = K});
}

tg::quantized_activations prepare(const input& a, weights_ref w, const call& how) {
  executor_ref executor = how.executor;
  return w.visit([&](const auto& typed) {
    return std::visit([&](auto view) { return tg::quantized_activations(view, typed, executor, how.options); }, a);
  });
}

void multiply(const tg::quantized_activations& a, weights_ref w, const output& c, const call& how) {
  int place = 0;
  for (const block_info& type : all_types()) {
    if (type.id == w.type()) break;
    ++place;
  }
  static_assert(detail::shards == 4);
  switch (place % detail::shards) {
    case 0: return detail::multiply_in<0>(a, w, c, how);
    case 1: return detail::multiply_in<1>(a, w, c, how);
    case 2: return detail::multiply_in<2>(a, w, c, how);
    default: return detail::multiply_in<3>(a, w, c, how);
  }
}

void multiply(const input& a, weights_ref w, const output& c, const call& how) { multiply(prepare(a, w, how), w, c, how); }

std::vector<float> multiply(const std::vector<float>& a, tg::index_t M, weights_ref w, const call& how) {
  std::vector<float> c(static_cast<std::size_t>(M * w.rows()), -12345.f);
  multiply(tg::matrix_view<const float>(a.data(), M, w.cols()), w, tg::matrix_view<float>(c.data(), M, w.rows()), how);
  return c;
}

std::vector<tg::isa> isas_here() {
  std::vector<tg::isa> isas;
  for (const tg::isa isa : tg::all_isas)
    if (tg::supported(isa)) isas.push_back(isa);
  return isas;
}

tg::isa kernels_of(tg::isa isa, const block_info& type, tg::compute mode) {
  const bool integers = type.quantized && mode != tg::compute::bf16, floats = !type.quantized && mode == tg::compute::exact;
  if (isa == tg::isa::amx && floats) return tg::isa::avx512;
  if (isa == tg::isa::avx_vnni && !integers) return tg::isa::avx2;
  return isa;
}

std::vector<tg::compute> modes_of(const block_info& type) {
  if (!type.quantized) return {tg::compute::exact, tg::compute::bf16};
  return {tg::compute::exact, tg::compute::bf16, tg::compute::requantized};
}

std::string difference(const std::vector<float>& c, const std::vector<float>& expected, tg::index_t N) {
  if (c.size() != expected.size()) return "sizes differ";
  std::size_t count = 0, first = 0;
  for (std::size_t i = 0; i < c.size(); ++i)
    if (std::memcmp(&c[i], &expected[i], sizeof(float)) != 0 && count++ == 0) first = i;
  if (count == 0) return {};
  char text[160];
  const auto columns = static_cast<std::size_t>(N);
  std::snprintf(text, sizeof text, "C[%zu, %zu] is %a, expected %a (%zu of %zu differ)", first / columns, first % columns,
                static_cast<double>(c[first]), static_cast<double>(expected[first]), count, c.size());
  return text;
}

}  // namespace tests
