// tegula_bench: options, the machine's peaks, the rows in order, the run, and the table at its end.
#include <benchmark/benchmark.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <sstream>

#include <tegula/thread_pool.hpp>

#include "attention_benchmarks.hpp"
#include "gemm_benchmarks.hpp"
#include "matrices.hpp"
#include "part_benchmarks.hpp"
#include "sparse_benchmarks.hpp"
#include "summary.hpp"
#ifdef TEGULA_PEER_GGML_BUILD
#include "peer_ggml.hpp"
#endif

namespace {

using namespace bench;

const std::map<std::string, tg::isa> isa_names = [] {
  std::map<std::string, tg::isa> names;
  for (const tg::isa isa : tg::all_isas) names[tg::name_of(isa)] = isa;
  return names;
}();
const std::map<std::string, tg::compute> mode_names{
    {"exact", tg::compute::exact}, {"bf16", tg::compute::bf16}, {"requantized", tg::compute::requantized}};

// A list of some of the names; CLI11 reads an enumerator as its number.
template <class Value>
void takes(CLI::Option* option, const std::map<std::string, Value>& names, const std::string& kind) {
  const auto to_number = [&names](std::string& text) -> std::string {
    const auto found = names.find(text);
    if (found != names.end()) {
      text = std::to_string(static_cast<int>(found->second));
      return {};
    }
    std::string choices;
    for (const auto& [name, value] : names) choices += (choices.empty() ? "" : ", ") + name;
    return text + ": must be among " + choices;
  };
  option->delimiter(',')->transform(CLI::Validator(to_number, "", kind))->type_name(kind);
}

std::string all_types() {
  std::string names;
  for_each_format([&](auto format) { names += (names.empty() ? "" : ",") + std::string(decltype(format)::name); });
  return names;
}

void describe(CLI::App& app, options& o) {
  app.description(
      "Times tegula's kernels: rows gemm/<type>/<isa>/<mode>/M:../N:../K:.., dequantize/<type>/<isa>/.., pack/<type>,\n"
      "unpack/<type>, quantize_activations/<A>/<isa>/M:.. and attention/bf16/<isa>/... GFLOP/s counts 2 M N K operations, GB/s the weights "
      "as they lie\n"
      "in a GGUF file, roofline is the time that this machine's measured peaks allow over the time taken.\n"
      "--benchmark_filter=REGEX chooses rows, --benchmark_out=FILE writes JSON that benchmarks/plot draws.");
  app.add_option("--m", o.rows, "Rows of activations, the Ms of gemm (default 1,8,64,512)")->delimiter(',')->check(CLI::PositiveNumber);
  app.add_option("--n", o.N, "Rows of W (default 4096)")->check(CLI::PositiveNumber);
  app.add_option("--k", o.K, "Columns of W, a multiple of 256 (default 4096)")->check(CLI::PositiveNumber);
  app.add_option("--types", o.types, "Types of W (default all: " + all_types() + ")")->delimiter(',');
  takes(app.add_option(
            "--isa", o.isas,
            "ISAs: scalar, avx2, avx_vnni, avx512, amx (default: all that this machine has but scalar, which takes minutes at large M)"),
        isa_names, "ISA");
  takes(app.add_option("--compute", o.modes, "Modes of gemm: exact, bf16, requantized (of quantized types) (default exact,bf16)"),
        mode_names, "MODE");
  app.add_option("--sparsity", o.sparsities,
                 "Percents of zeros: rows of sparse W beside the dense ones, for the types that can be sparse (default none)")
      ->delimiter(',')
      ->check(CLI::Range(0, 100));
  app.add_option("--threads", o.threads, "Threads of gemm, the calling one included; 0: what this process may use (default 1)")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--hot", o.hot, "Multiply by the same W again and again; else by one after the other of 256 MiB of them, as a model does");
}

void complete(options& o) {
  if (o.threads == 0) o.threads = tg::thread_pool::default_size();
  if (o.K % 256 != 0) throw CLI::ValidationError("--k", "K = " + std::to_string(o.K) + ": must be a multiple of 256, the largest block");
  for (const std::string& type : o.types) {
    bool known = false;
    for_each_format([&](auto format) { known = known || type == decltype(format)::name; });
    if (!known) throw CLI::ValidationError("--types", type + ": must be among " + all_types());
  }
  for (const tg::isa isa : o.isas)
    if (!tg::supported(isa))
      throw CLI::ValidationError("--isa", std::string(tg::name_of(isa)) + " cannot run here: " + tg::cpu_report().why_not(isa));
  if (o.isas.empty())
    for (const tg::isa isa : tg::all_isas)
      if (isa != tg::isa::scalar && tg::supported(isa)) o.isas.push_back(isa);
  if (o.isas.empty()) o.isas.push_back(tg::isa::scalar);
}

// "AMD EPYC 9B14, family 25 model 17"; what /proc/cpuinfo says of the first CPU.
std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string name = "unknown CPU", family, model;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const std::string value = line.find(": ") == std::string::npos ? "" : line.substr(line.find(": ") + 2);
    if (line.starts_with("model name")) name = value;
    else if (line.starts_with("cpu family")) family = value;
    else if (line.starts_with("model\t")) model = value;
  }
  return family.empty() ? name : name + ", family " + family + " model " + model;
}

std::string usable_features() {
  std::string names;
  for (const tg::cpu_feature& feature : tg::cpu_report().features)
    if (feature.why_not.empty()) names += (names.empty() ? "" : " ") + std::string(feature.name);
  return names;
}

void add_context(const session& s) {
  const auto add = [](const std::string& key, const auto& value) {
    std::ostringstream text;
    text << value;
    benchmark::AddCustomContext(key, text.str());
  };
  add("machine", cpu_name());
  add("cpu_features", usable_features());
  add("threads", s.options.threads);
  add("weights", s.options.hot ? "hot" : "cold");
  for (const auto& [isa, peak] : s.peaks.arithmetic) {
    const std::string prefix = std::string("peak_") + tg::name_of(isa);
    add(prefix + "_int8_gops", peak.int8);
    add(prefix + "_f32_gflops", peak.f32);
    add(prefix + "_bf16_gflops", peak.bf16);
  }
  add("read_memory_gbs", s.peaks.memory);
  add("read_cache_gbs", s.peaks.cache);
#ifdef TEGULA_PEER_GGML_BUILD
  add("ggml", peer_version());
#endif
}

// The peer's rows of a shape come first: the ratio of tegula's needs them.
void register_rows(session& s) {
  const auto asked_for = [&](const char* type) {
    return s.options.types.empty() || std::find(s.options.types.begin(), s.options.types.end(), type) != s.options.types.end();
  };
  for_each_format([&](auto format) {
    if (!asked_for(decltype(format)::name)) return;
    for (const tg::index_t M : s.options.rows) {
#ifdef TEGULA_PEER_GGML_BUILD
      register_peer(s, format.id, M);
#endif
      register_gemm(s, format.id, M);
    }
    for (const int percent : s.options.sparsities)
      for (const tg::index_t M : s.options.rows) register_sparse(s, format.id, M, percent);
    register_pack(format.id);
    register_dequantize(s, format.id);
  });
  register_quantize_activations(s);
  register_attention(s);
}

CLI::App* help_of = nullptr;
void print_help() {
  std::cout << help_of->help() << "\nOptions of Google Benchmark:\n\n";
  benchmark::PrintDefaultHelp();
}

// Whether Google Benchmark will print its table for people: JSON and CSV must stay what they are.
bool prints_console(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option.starts_with("--benchmark_format=") && !option.ends_with("=console")) return false;
    if (option.starts_with("--benchmark_list_tests") && !option.ends_with("=false")) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  session s;
  CLI::App app{"", "tegula_bench"};
  describe(app, s.options);
  help_of = &app;
  const bool console = prints_console(argc, argv);

  // Counters as columns, unless the user says otherwise.
  std::string tabular = "--benchmark_counters_tabular=true";
  std::vector<char*> arguments(argv, argv + argc);
  arguments.insert(arguments.begin() + 1, tabular.data());
  arguments.push_back(nullptr);
  int count = argc + 1;
  benchmark::Initialize(&count, arguments.data(), print_help);
  try {
    app.parse(count, arguments.data());
    complete(s.options);
    if (console) std::cerr << "measuring the machine's peaks\n";
    s.peaks = measure_peaks(s.options.threads);
    add_context(s);
    register_rows(s);
    benchmark::RunSpecifiedBenchmarks();
    if (console) print_summary(s, std::cout);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    std::cerr << "tegula_bench: " << error.what() << '\n';
    return 1;
  }
}
