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

// The inverse, in the same unit.
template <tg::block_format F>
void run_unpack(benchmark::State& state) {
  constexpr tg::index_t rows = 256;
  byte_vector blocks = random_weights<F>(rows, part_k);
  const auto w = tg::pack<F>(blocks.data(), {.N = rows, .K = part_k});
  const stopwatch time(1);
  for (auto unused : state) {
    tg::unpack(w, blocks.data());
    benchmark::ClobberMemory();
  }
  report_bytes(state, time, blocks.size());
}

// GB/s of the floats written. 16 rows, 256 KiB, stay in L2; 4,096, 64 MiB, go to memory. Bound: half of the read stream from memory,
// as each line is read before it is written.
template <tg::block_format F>
void run_dequantize(benchmark::State& state, tg::isa isa, tg::index_t rows) {
  const byte_vector blocks = random_weights<F>(rows, part_k);
  std::vector<float> out(static_cast<std::size_t>(rows * part_k));
  const stopwatch time(1);
  for (auto unused : state) {
    tg::dequantize<F>(blocks.data(), out.data(), rows * part_k, {.isa = isa});
    benchmark::ClobberMemory();
  }
  report_bytes(state, time, out.size() * sizeof(float));
}

// GB/s of the elements read, rows of activations for quantized weights in exact mode. Bound: in cache, some 100 vector instructions of 16
// lanes for 256 elements (AVX2: twice as many); from memory the stream, of which 420 bytes are written for 256 elements.
template <class Element>
void run_quantize_activations(benchmark::State& state, tg::isa isa, tg::index_t rows) {
  const std::vector<float> values = random_activations(rows, part_k);
  std::vector<Element> a;
  for (const float value : values) a.push_back(Element(value));
  tg::quantized_activations quantized(rows, tg::packed_matrix<tg::q8_0>({.N = 0, .K = part_k}));
  const stopwatch time(1);
  for (auto unused : state) {
    quantized.assign(tg::matrix_view<const Element>(a.data(), rows, part_k), tg::serial_executor{}, {.isa = isa});
    benchmark::ClobberMemory();
  }
  report_bytes(state, time, a.size() * sizeof(Element));
}

}  // namespace

void register_pack(tg::type_id type) {
  tg::visit(type, [&](auto format) {
    using F = decltype(format);
    register_row(1, std::string("pack/") + F::name, run_pack<F>);
    register_row(1, std::string("unpack/") + F::name, run_unpack<F>);
  });
}

void register_dequantize(const session& s, tg::type_id type) {
  tg::visit(type, [&](auto format) {
    using F = decltype(format);
    for (const tg::isa isa : s.options.isas)
      for (const tg::index_t rows : {16, 4096})
        register_row(1, std::string("dequantize/") + F::name + "/" + tg::name_of(isa) + (rows == 16 ? "/cache" : "/memory"),
                     [isa, rows](benchmark::State& state) { run_dequantize<F>(state, isa, rows); });
  });
}

void register_quantize_activations(const session& s) {
  const auto add = [&]<class Element>(const char* name, Element) {
    for (const tg::isa isa : s.options.isas)
      for (const tg::index_t rows : {1, 64, 2048})
        register_row(1, std::string("quantize_activations/") + name + "/" + tg::name_of(isa) + "/M:" + std::to_string(rows),
                     [isa, rows](benchmark::State& state) { run_quantize_activations<Element>(state, isa, rows); });
  };
  add("f32", float{});
  add("f16", tg::f16{});
  add("bf16", tg::bf16{});
}

}  // namespace bench
