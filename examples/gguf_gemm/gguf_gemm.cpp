// gguf_gemm: the command line, and the order of the work. reader: gguf/gguf.hpp; the job on a tensor: job.hpp; output: report.hpp.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <map>

#include "gguf/gguf.hpp"
#include "job.hpp"
#include "options.hpp"
#include "report.hpp"

namespace gguf_gemm {

using program::failure, program::print_file, program::prints_table, program::success, program::write_json;

namespace {

constexpr const char* description =
    "Multiplies activations by the weight matrices of a GGUF file with tegula, and prints how fast and how exact that was.\n"
    "\n"
    "Each matrix W (N x K, two dimensions) is packed, one at a time, and C[M,N] = A[M,K] * W^T is computed for each M of --m.\n"
    "A is standard normal, from --seed, the same numbers for every matrix. A sparse matrix (of a file that gguf_prune --sparse\n"
    "wrote, or compressed here: --sparse) is multiplied in its own form and decompressed and packed, in turn. Its line says how\n"
    "much faster that is than dense, whether all bits of C are the same, its density (the share of weights that it holds) and\n"
    "its bytes per weight.\n"
    "\n"
    "us       of the whole call of tg::gemm, quantizing A included; the fastest of as many runs as fit --min-time, so that\n"
    "         small matrices are read from cache\n"
    "GFLOP/s  counts 2 M N K\n"
    "GB/s     counts the bytes of the matrix in the file\n"
    "NMSE     sum (c - r)^2 / sum |a|^2 |w|^2 / K over a sample of C: up to 16 columns and 4 rows, the first and last ones\n"
    "         among them. r is the dot product of a, a row of A, and w, a row of W, in double, from the dequantized weights\n"
    "         and the unquantized A; the denominator is what r^2 is on average. Elements that are not finite, or come near\n"
    "         float's range, are left out";

constexpr const char* exit_codes =
    "exit status: 0 if all that was asked for and is supported was multiplied, and was as exact as --max-nmse demands;\n"
    "1 for a file that is damaged or cannot be read, a matrix that needs more than --max-memory, an ISA that this machine\n"
    "lacks, a larger error, a sparse product with other bits than the dense one, or (with --strict) a matrix of an unsupported type; 2 for "
    "a wrong command line.\n"
    "Do not change the file while it is in use: it is mapped.";

void add_options(CLI::App& app, options& o) {
  static const std::map<std::string, tg::isa> isas = [] {
    std::map<std::string, tg::isa> names;
    for (const tg::isa isa : tg::all_isas) names[tg::name_of(isa)] = isa;
    return names;
  }();
  static const std::map<std::string, tg::compute> computes{
      {"exact", tg::compute::exact}, {"bf16", tg::compute::bf16}, {"requantized", tg::compute::requantized}};

  app.footer(exit_codes);
  program::add_options(app, o, "list the tensors and multiply nothing");
  app.add_option("--m", o.rows, "rows of activations, comma-separated")
      ->delimiter(',')
      ->check(CLI::Range(tg::index_t{1}, tg::index_t{1} << 20).description(""))
      ->type_name("M,...")
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--isa", [&o](const std::string& name) { o.isa = isas.at(name); }, "default: the best this machine has")
      ->check(CLI::IsMember(isas))
      ->type_name("");
  app.add_option_function<std::string>(
         "--compute", [&o](const std::string& name) { o.compute = computes.at(name); },
         "requantized: only matrices of quantized types are multiplied; default: exact")
      ->check(CLI::IsMember(computes))
      ->type_name("");
  app.add_option_function<double>(
         "--min-time", [&o](double ms) { o.min_seconds = 1e-3 * ms; }, "milliseconds that a product is repeated for; default: 20")
      ->check(CLI::Range(0.0, 1e6).description(""))
      ->type_name("MS");
  app.add_option_function<std::uint64_t>(
         "--max-memory", [&o](std::uint64_t mb) { o.max_memory = mb * 1'000'000; },
         "megabytes that a packed matrix, its A and its C may take; default: twice the file, at least 64 MiB")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40).description(""))
      ->type_name("MB");
  app.add_option("--max-nmse", o.max_nmse, "a larger NMSE is an error")->type_name("X")->capture_default_str();
  app.add_option("--seed", o.seed, "of A and of the sample that NMSE is computed of")->type_name("N")->capture_default_str();
  app.add_flag("--sparse", o.sparse, "compress standard matrices too, where sparse matrices hold their type; F32 becomes BF16");
  app.add_flag("--strict", o.strict, "an unsupported type is an error");
}

std::string short_text(double number) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g", number);
  return text.data();
}

// Says on stderr what the exit status is about.
int judge_outcomes(const options& o, const gguf::file& file, std::span<const outcome> outcomes) {
  int status = success;
  const auto complain = [&](const outcome& result, const std::string& text) {
    std::fprintf(stderr, "gguf_gemm: %s: %s\n", gguf::printable(result.tensor->name).c_str(), text.c_str());
    status = failure;
  };
  for (const outcome& result : outcomes) {
    if (result.too_large) {
      complain(result, "not run: needs " + std::to_string(result.memory / 1'000'000 + 1) + " MB, the limit is " +
                           std::to_string(memory_limit(o, file.size()) / 1'000'000) + " MB; raise it with --max-memory");
    }
    if (o.strict && result.judged == verdict::unsupported) {
      complain(result, "type " + gguf::type_name(result.tensor->type) + " is not supported");
    }
    for (const product& p : result.products) {
      if (!(p.nmse <= o.max_nmse)) {
        complain(result, p.kernel + ", M = " + std::to_string(p.M) + ": an NMSE of " + short_text(p.nmse) + " is above --max-nmse " +
                             short_text(o.max_nmse));
      }
      if (p.sparse && !p.sparse->same_bits)
        complain(result, p.sparse->kernel + ", M = " + std::to_string(p.M) + ": not the bits of " + p.kernel);
    }
  }
  return status;
}

int list_all(const gguf::file& file, const options& o, std::span<const entry> entries) {
  if (prints_table(o)) {
    print_file(file);
    print_list(entries);
  }
  if (o.json) write_json(*o.json, list_json(file, o, entries));
  return success;
}

int multiply_all(const gguf::file& file, const options& o, std::span<const entry> entries) {
  job work(file, o);
  std::vector<outcome> outcomes;
  {
    if (prints_table(o)) {
      print_file(file);
      std::printf("threads: %d, best ISA here: %s\n\n", work.threads(), tg::name_of(tg::best_isa()));
    }
    const program::progress_bar bar(entries.size());
    std::optional<table> rows;
    if (prints_table(o)) rows.emplace(entries);
    for (const entry& e : entries) {
      bar.show(outcomes.size(), gguf::printable(e.tensor.name));
      outcomes.push_back(work.run(e));
      bar.clear();
      if (rows) rows->print(outcomes.back());
    }
  }
  if (prints_table(o)) print_summary(file, outcomes);
  if (o.json) write_json(*o.json, outcomes_json(file, o, work.threads(), outcomes));
  return judge_outcomes(o, file, outcomes);
}

int run(const options& o) {
  const gguf::file file(o.path);
  const std::vector<entry> entries = entries_of(file, program::select(file, o));
  return o.list ? list_all(file, o, entries) : multiply_all(file, o, entries);
}

}  // namespace
}  // namespace gguf_gemm

int main(int argc, char** argv) {
  using namespace gguf_gemm;
  CLI::App app(description, "gguf_gemm");
  options o;
  add_options(app, o);
  return program::run(app, argc, argv, "choose fewer rows with --m, or smaller matrices with --tensor", [&] { return run(o); });
}
