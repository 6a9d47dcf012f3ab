// The same results for scripts: JSON texts.
#include <nlohmann/json.hpp>

#include "report.hpp"

namespace gguf_gemm {
namespace {

using nlohmann::json;

json describe_file(const gguf::file& file, const std::string& path) {
  return {{"path", path},
          {"bytes", file.size()},
          {"gguf_version", file.version()},
          {"architecture", std::string(file.text("general.architecture").value_or(""))},
          {"name", std::string(file.text("general.name").value_or(""))},
          {"alignment", file.alignment()}};
}

json describe_tensor(const gguf::tensor& t) {
  json dims = json::array();
  for (std::uint32_t i = 0; i < t.n_dims; ++i) dims.push_back(t.dims[i]);
  return {{"name", std::string(t.name)}, {"type", gguf::type_name(t.type)},
          {"type_number", t.type},       {"dims", dims},
          {"offset", t.offset},          {"bytes", t.bytes},
          {"status", describe(judge(t))}};
}

json describe_outcome(const outcome& o) {
  json result = describe_tensor(*o.tensor);
  result["status"] = describe(o.judged);
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

// Names come from the file and need not be UTF-8; what is not becomes U+FFFD. Infinite numbers become null.
std::string text_of(const json& value) { return value.dump(2, ' ', false, json::error_handler_t::replace) + '\n'; }

}  // namespace

std::string list_json(const gguf::file& file, const options& o, std::span<const gguf::tensor* const> tensors) {
  json list = json::array();
  for (const gguf::tensor* t : tensors) list.push_back(describe_tensor(*t));
  return text_of({{"file", describe_file(file, o.path)}, {"tensors", list}});
}

std::string outcomes_json(const gguf::file& file, const options& o, int threads, std::span<const outcome> outcomes) {
  json list = json::array();
  for (const outcome& result : outcomes) list.push_back(describe_outcome(result));
  return text_of({{"file", describe_file(file, o.path)},
                  {"best_isa", tg::name_of(tg::best_isa())},
                  {"threads", threads},
                  {"seed", o.seed},
                  {"tensors", list}});
}

}  // namespace gguf_gemm
