// The same results for scripts, as JSON.
#include <nlohmann/json.hpp>

#include "report.hpp"

namespace gguf_gemm {
namespace {

using nlohmann::json;

json describe_tensor(const gguf::tensor& t, const char* status) {
  json result = program::describe_tensor(t);
  result["status"] = status;
  return result;
}

json describe_sparse(const sparse_form& s, const gguf::tensor& t) {
  const double weights = static_cast<double>(t.dims[0]) * static_cast<double>(t.dims[1]);
  return {{"density", s.density}, {"bytes", s.bytes}, {"bytes_per_weight", static_cast<double>(s.bytes) / weights}};
}

json describe_product(const product& p, const gguf::tensor& t) {
  json result{{"M", p.M},      {"kernel", p.kernel}, {"seconds", p.seconds}, {"gflops", gflops(t, p)}, {"weight_gbps", weight_gbps(t, p)},
              {"nmse", p.nmse}};
  if (p.sparse) {
    result["sparse"] = {
        {"kernel", p.sparse->kernel}, {"seconds", p.sparse->seconds}, {"speed_up", speed_up(p)}, {"same_bits", p.sparse->same_bits}};
  }
  return result;
}

json describe_outcome(const outcome& o) {
  json result = describe_tensor(*o.tensor, describe(o.judged));
  if (o.judged != verdict::multiply) return result;
  result["memory_needed"] = o.memory;
  if (o.too_large) {
    result["status"] = "matrix, not run: above the memory limit";
    return result;
  }
  result["packed_bytes"] = o.packed_bytes;
  result["pack_seconds"] = o.pack_seconds;
  if (o.sparse) result["sparse"] = describe_sparse(*o.sparse, *o.tensor);
  result["products"] = json::array();
  for (const product& p : o.products) result["products"].push_back(describe_product(p, *o.tensor));
  return result;
}

}  // namespace

json list_json(const gguf::file& file, const options& o, std::span<const entry> entries) {
  json list = json::array();
  for (const entry& e : entries) {
    list.push_back(describe_tensor(e.tensor, describe(judge(e))));
    if (e.sparse) list.back()["sparse"] = {{"bytes", e.sparse->stored->bytes}};
  }
  return {{"file", program::describe_file(file, o.path)}, {"tensors", list}};
}

json outcomes_json(const gguf::file& file, const options& o, int threads, std::span<const outcome> outcomes) {
  json list = json::array();
  for (const outcome& result : outcomes) list.push_back(describe_outcome(result));
  return {{"file", program::describe_file(file, o.path)},
          {"best_isa", tg::name_of(tg::best_isa())},
          {"threads", threads},
          {"seed", o.seed},
          {"tensors", list}};
}

}  // namespace gguf_gemm
