// See part_benchmarks.hpp.
#include "part_benchmarks.hpp"

#include "counters.hpp"
#include "matrices.hpp"

namespace bench {
namespace {

constexpr tg::index_t part_k = 4096;

// GB/s of `bytes` bytes that every iteration handles.
void report_bytes(benchmark::State& state, const stopwatch& time, std::size_t bytes) {
  state.counters["GB/s"] = static_cast<double>(bytes) * static_cast<double>(state.iterations()) / time.seconds() / 1e9;
}

// GB/s of GGUF blocks, 256 rows: what a model loader waits for.
template <tg::block_format F>
void run_pack(benchmark::State& state) {
  constexpr tg::index_t rows = 256;
  const byte_vector blocks = random_weights<F>(rows, part_k);
  tg::packed_matrix<F> w({.N = rows, .K = part_k});
  const stopwatch time(1);
  for (auto unused : state) {
    tg::pack_rows(w, blocks.data(), {.first = 0, .count = rows});
    benchmark::ClobberMemory();
  }
  report_bytes(state, time, blocks.size());
}

// GB/s of the floats written, 256 KiB, which stay in L2.
template <tg::block_format F>
void run_dequantize(benchmark::State& state, tg::isa isa) {
  constexpr tg::index_t rows = 16;
  const byte_vector blocks = random_weights<F>(rows, part_k);
  std::vector<float> out(rows * part_k);
  const stopwatch time(1);
  for (auto unused : state) {
    tg::dequantize<F>(blocks.data(), out.data(), rows * part_k, {.isa = isa});
    benchmark::ClobberMemory();
  }
  report_bytes(state, time, out.size() * sizeof(float));
}

// GB/s of the floats read, 64 rows of activations for quantized weights in exact mode.
void run_quantize_activations(benchmark::State& state, tg::isa isa) {
  constexpr tg::index_t rows = 64;
  const std::vector<float> a = random_activations(rows, part_k);
  tg::quantized_activations quantized(rows, tg::packed_matrix<tg::q8_0>({.N = 0, .K = part_k}));
  const stopwatch time(1);
  for (auto unused : state) {
    quantized.assign(tg::matrix_view<const float>(a.data(), rows, part_k), tg::serial_executor{}, {.isa = isa});
    benchmark::ClobberMemory();
  }
  report_bytes(state, time, a.size() * sizeof(float));
}

}  // namespace

void register_pack(tg::type_id type) {
  tg::visit(type, [&](auto format) {
    using F = decltype(format);
    register_row(1, std::string("pack/") + F::name, run_pack<F>);
  });
}

void register_dequantize(const session& s, tg::type_id type) {
  tg::visit(type, [&](auto format) {
    using F = decltype(format);
    for (const tg::isa isa : s.options.isas)
      register_row(1, std::string("dequantize/") + F::name + "/" + tg::name_of(isa),
                   [isa](benchmark::State& state) { run_dequantize<F>(state, isa); });
  });
}

void register_quantize_activations(const session& s) {
  for (const tg::isa isa : s.options.isas)
    register_row(1, std::string("quantize_activations/") + tg::name_of(isa),
                 [isa](benchmark::State& state) { run_quantize_activations(state, isa); });
}

}  // namespace bench
