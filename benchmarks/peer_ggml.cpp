// See peer_ggml.hpp. ggml computes graphs: each product is a node, with activations of its own, because ggml may quantize
// activations that neighbours share only once.
#include "peer_ggml.hpp"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>

#include "counters.hpp"
#include "gemm_benchmarks.hpp"
#include "matrices.hpp"

namespace bench {
namespace {

struct deleter {
  void operator()(ggml_context* p) const { ggml_free(p); }
  void operator()(ggml_backend_buffer* p) const { ggml_backend_buffer_free(p); }
  void operator()(ggml_threadpool* p) const { ggml_threadpool_free(p); }
};
using context_ptr = std::unique_ptr<ggml_context, deleter>;
using buffer_ptr = std::unique_ptr<ggml_backend_buffer, deleter>;
using pool_ptr = std::unique_ptr<ggml_threadpool, deleter>;

// A context for `tensors` descriptors and a graph of `nodes`; data lives in buffers.
context_ptr make_context(std::size_t tensors, std::size_t nodes = 0) {
  const std::size_t graph = nodes == 0 ? 0 : ggml_graph_overhead_custom(nodes, false);
  return context_ptr(ggml_init({ggml_tensor_overhead() * (tensors + 1) + graph, nullptr, true}));
}

buffer_ptr allocate(const context_ptr& tensors, ggml_backend_buffer_type_t type) {
  buffer_ptr buffer(ggml_backend_alloc_ctx_tensors_from_buft(tensors.get(), type));
  if (!buffer) throw std::runtime_error("ggml has no memory left for a buffer");
  return buffer;
}

// One kind of buffer for weights, and the name of its rows.
struct weight_buffer {
  ggml_backend_buffer_type_t type;
  std::string name;
};

const std::vector<weight_buffer>& weight_buffers() {
  static const std::vector<weight_buffer> all = [] {
    ggml_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
    make_context(1);  // the first one fills ggml's tables
    ggml_cpu_init();
    std::vector<weight_buffer> found{{ggml_backend_cpu_buffer_type(), peer_name}};
    ggml_backend_reg_t cpu = ggml_backend_cpu_reg();
    const auto extra =
        reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(cpu, "ggml_backend_dev_get_extra_bufts"));
    ggml_backend_buffer_type_t* types = extra == nullptr ? nullptr : extra(ggml_backend_reg_dev_get(cpu, 0));
    for (; types != nullptr && *types != nullptr; ++types) {
      std::string name = ggml_backend_buft_name(*types);
      if (name.starts_with("CPU_")) name.erase(0, 4);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      found.push_back({*types, std::string(peer_name) + "+" + name});
    }
    return found;
  }();
  return all;
}

ggml_type peer_type(tg::type_id type) { return static_cast<ggml_type>(type.value); }  // the same numbers

// Whether ggml's CPU backend multiplies from a buffer, asked as a model loader does: of an operation on an empty one.
bool accepts(const weight_buffer& buffer, const options& o, tg::type_id type, tg::index_t M) {
  if (buffer.name == peer_name) return true;
  const context_ptr context = make_context(4);
  ggml_tensor* w = ggml_new_tensor_2d(context.get(), peer_type(type), o.K, o.N);
  ggml_tensor* y = ggml_mul_mat(context.get(), w, ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, o.K, M));
  const buffer_ptr empty(ggml_backend_buft_alloc_buffer(buffer.type, 0));
  w->buffer = empty.get();
  return empty && ggml_backend_dev_supports_op(ggml_backend_buft_get_device(buffer.type), y);
}

// W of one type in one kind of buffer, as many times as copies_for says; kept for the rows that follow.
struct peer_weights {
  tg::type_id type;
  std::string buffer_name;
  context_ptr context;
  buffer_ptr buffer;
  std::vector<ggml_tensor*> w;
};

const peer_weights& weights(const options& o, tg::type_id type, const weight_buffer& buffer) {
  static std::vector<peer_weights> kept;
  for (const peer_weights& known : kept)
    if (known.type == type && known.buffer_name == buffer.name) return known;
  std::erase_if(kept, [&](const peer_weights& known) { return known.type != type; });
  const byte_vector blocks = tg::visit(type, [&](auto format) { return random_weights<decltype(format)>(o.N, o.K); });
  peer_weights made{type, buffer.name, nullptr, nullptr, std::vector<ggml_tensor*>(copies_for(blocks.size(), o.hot))};
  made.context = make_context(made.w.size());
  for (ggml_tensor*& w : made.w) w = ggml_new_tensor_2d(made.context.get(), peer_type(type), o.K, o.N);
  made.buffer = allocate(made.context, buffer.type);
  for (ggml_tensor* w : made.w) ggml_backend_tensor_set(w, blocks.data(), 0, blocks.size());
  kept.push_back(std::move(made));
  return kept.back();
}

// Products by some matrices, in one graph: where they are short, starting a graph should not count.
class product_graph {
 public:
  product_graph(const std::vector<ggml_tensor*>& w, std::size_t first, std::size_t count, tg::index_t M, const std::vector<float>& a,
                int threads, ggml_threadpool* pool)
      : count_(count), context_(make_context(2 * count, 2 * count + 64)) {
    std::vector<ggml_tensor*> inputs;
    graph_ = ggml_new_graph_custom(context_.get(), 2 * count + 64, false);
    for (std::size_t i = first; i < first + count; ++i) {
      inputs.push_back(ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, w[i]->ne[0], M));
      result_ = ggml_mul_mat(context_.get(), w[i], inputs.back());
      ggml_build_forward_expand(graph_, result_);
    }
    buffer_ = allocate(context_, ggml_backend_cpu_buffer_type());
    for (ggml_tensor* x : inputs) std::memcpy(x->data, a.data(), ggml_nbytes(x));
    plan_ = ggml_graph_plan(graph_, threads, pool);
    work_ = tg::aligned_buffer(plan_.work_size);
    plan_.work_data = reinterpret_cast<std::uint8_t*>(work_.data());
  }

  [[nodiscard]] std::size_t products() const { return count_; }
  [[nodiscard]] const float* result() const { return static_cast<const float*>(result_->data); }
  void run() {
    if (ggml_graph_compute(graph_, &plan_) != GGML_STATUS_SUCCESS) throw std::runtime_error("ggml could not compute a product");
  }

 private:
  std::size_t count_;
  context_ptr context_;
  buffer_ptr buffer_;
  ggml_cgraph* graph_;
  ggml_tensor* result_ = nullptr;
  ggml_cplan plan_;
  tg::aligned_buffer work_;
};

// |C - reference|^2 / |reference|^2: both multiply the same matrices, or the ratio would mean nothing.
double normalised_error(const float* c, const std::vector<float>& reference) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double difference = static_cast<double>(c[i]) - static_cast<double>(reference[i]);
    error += difference * difference;
    size += static_cast<double>(reference[i]) * static_cast<double>(reference[i]);
  }
  return error / size;
}

struct peer_case {
  tg::type_id type;
  weight_buffer buffer;
  gemm_row row;
};

pool_ptr make_pool(int threads) {
  ggml_threadpool_params params;
  ggml_threadpool_params_init(&params, threads);
  return pool_ptr(ggml_threadpool_new(&params));
}

void run_peer(benchmark::State& state, session& s, const peer_case& c) {
  const options& o = s.options;
  const tg::index_t M = c.row.M;
  const peer_weights& w = weights(o, c.type, c.buffer);
  const std::vector<float> a = random_activations(M, o.K);
  const pool_ptr pool = make_pool(o.threads);

  const std::size_t together = M < 16 ? w.w.size() : 1;  // products a graph
  std::vector<std::unique_ptr<product_graph>> graphs;
  for (std::size_t i = 0; i < w.w.size(); i += together)
    graphs.push_back(std::make_unique<product_graph>(w.w, i, together, M, a, o.threads, pool.get()));
  graphs[0]->run();
  if (const double error = normalised_error(graphs[0]->result(), reference_product(s, c.type, M)); !(error < 1e-3)) {
    state.SkipWithError(("its result differs from tegula's: normalised squared error " + std::to_string(error)).c_str());
    return;
  }

  std::size_t next = 0;
  const stopwatch time(o.threads);
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(together))) {
    graphs[next]->run();
    next = next + 1 < graphs.size() ? next + 1 : 0;
  }
  const bool avx2_build = std::string_view(TEGULA_PEER_GGML_BUILD) == "avx2";
  report_gemm(state, s, c.row, c.type, avx2_build ? tg::isa::avx2 : tg::best_isa(), tg::compute::exact, time.seconds());
}

}  // namespace

void register_peer(session& s, tg::type_id type, tg::index_t M) {
  if (type.value >= GGML_TYPE_COUNT) return;  // tegula's own
  const char* name = tg::visit(type, [](auto format) { return decltype(format)::name; });
  for (const weight_buffer& buffer : weight_buffers()) {
    if (!accepts(buffer, s.options, type, M)) continue;
    const peer_case c{type, buffer, {name, buffer.name, TEGULA_PEER_GGML_BUILD, M}};
    register_row(s.options.threads, name_of(s.options, c.row), [&s, c](benchmark::State& state) { run_peer(state, s, c); });
  }
}

std::string peer_version() { return std::string(ggml_version()) + ", built for " TEGULA_PEER_GGML_BUILD; }

}  // namespace bench
