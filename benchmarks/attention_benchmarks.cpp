// See attention_benchmarks.hpp.
#include "attention_benchmarks.hpp"

#include <tegula/sparse_attention.hpp>

#include "counters.hpp"
#include "matrices.hpp"

namespace bench {
namespace {

constexpr tg::index_t kv_heads = 4, query_heads = 16;

// Bound: the bytes held, dense 1 KiB a position at head_dim = 64, from memory; or the FMAs of 4 query heads a KV head.
template <class Cache>
void run_attention(benchmark::State& state, tg::isa isa, tg::index_t head_dim, tg::index_t context, double sparsity) {
  const std::vector<float> k = random_activations(context, kv_heads * head_dim), q = random_activations(query_heads, head_dim);
  const tg::matrix_view<const float> rows(k.data(), context, kv_heads * head_dim), queries(q.data(), query_heads, head_dim);
  std::vector<float> out(q.size());
  Cache cache(kv_heads, head_dim, 0);
  cache.prefill(rows, rows, {.k = sparsity, .v = sparsity});
  const stopwatch time(1);
  for (auto unused : state) {
    tg::attend(cache, queries, tg::matrix_view<float>(out.data(), query_heads, head_dim), 0.125f, tg::serial_executor{},
               {.gemm = {.isa = isa}});
    benchmark::ClobberMemory();
  }
  state.counters["bytes/position"] = static_cast<double>(cache.bytes()) / static_cast<double>(context);
  state.counters["GB/s"] = static_cast<double>(cache.bytes()) * static_cast<double>(state.iterations()) / time.seconds() / 1e9;
}

}  // namespace

void register_attention(const session& s) {
  for (const tg::isa isa : s.options.isas)
    for (const tg::index_t head_dim : {64, 128})
      for (const tg::index_t context : {1024, 8192, 32768}) {
        const std::string name = std::string("attention/bf16/") + tg::name_of(isa) + "/head_dim:" + std::to_string(head_dim) +
                                 "/context:" + std::to_string(context);
        register_row(1, name + "/dense",
                     [=](benchmark::State& state) { run_attention<tg::dense_kv_cache<tg::bf16>>(state, isa, head_dim, context, 0); });
        for (const int percent : {0, 50, 70, 90})
          register_row(1, name + "/sparsity:" + std::to_string(percent), [=](benchmark::State& state) {
            run_attention<tg::sparse_kv_cache<tg::bf16>>(state, isa, head_dim, context, percent / 100.0);
          });
      }
}

}  // namespace bench
