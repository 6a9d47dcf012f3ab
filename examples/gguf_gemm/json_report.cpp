// The same results for scripts, as JSON.
#include "report.hpp"

namespace gguf_gemm {
namespace {

using nlohmann::json;

json describe_tensor(const gguf::tensor& t, const char* status) {
  json result = program::describe_tensor(t);
  result["status"] = status;
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
  result["products"] = json::array();
  for (const product& p : o.products) {
    result["products"].push_back({{"M", p.M},
                                  {"kernel", p.kernel},
                                  {"seconds", p.seconds},
                                  {"gflops", gflops(*o.tensor, p)},
                                  {"weight_gbps", weight_gbps(*o.tensor, p)},
                                  {"nmse", p.nmse}});
  }
  return result;
}

}  // namespace

json list_json(const gguf::file& file, const options& o, std::span<const gguf::tensor* const> tensors) {
  json list = json::array();
  for (const gguf::tensor* t : tensors) list.push_back(describe_tensor(*t, describe(judge(*t))));
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
