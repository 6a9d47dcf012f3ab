// gguf_prune: the command line, and the order of the work. What becomes of tensors: plan.hpp; of weights: prune.hpp; the new file:
// gguf/writer.hpp; output: report.hpp.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <map>
#include <memory>

#include "gguf/sparse.hpp"
#include "gguf/writer.hpp"
#include "copy.hpp"
#include "expand.hpp"
#include "norms.hpp"
#include "options.hpp"
#include "plan.hpp"
#include "prune.hpp"
#include "program/types.hpp"
#include "report.hpp"
#include "sparse_output.hpp"

namespace gguf_prune {

using program::failure, program::prints_table, program::success;

namespace {

constexpr const char* description =
    "Prunes weight matrices of a GGUF file: the weights that matter least become zero. Writes a GGUF file that any reader takes\n"
    "or, with --sparse, one without the zeros.\n"
    "\n"
    "Weights matter by their magnitude, or, with --norms, by magnitude times the norm of the activations that meet their\n"
    "column (Wanda). The lowest are pruned, of each row, of each tensor, or of each few weights of a row (--pattern).\n"
    "Other tensors and all metadata are copied as they are.\n"
    "\n"
    "zeros        of all weights in the new file, exact zeros for any reader of the type\n"
    "energy lost  sum of the squared pruned weights / sum of all squared weights\n"
    "NMSE         sum (w - new w)^2 / sum w^2: of pruning and of the new type together";

constexpr const char* exit_codes =
    "exit status: 0 if all that was asked for was done; 1 for a file that is damaged or cannot be read, norms that are missing,\n"
    "a matrix that cannot be pruned as asked for, weights that are not finite, or an output that cannot be written; 2 for a\n"
    "wrong command line. OUTPUT is there when it is complete, and not before: a file of that name stays until then.\n"
    "Do not change MODEL while it is in use: it is mapped.";

pattern parse_pattern(const std::string& text) {
  pattern p;
  int end = 0;
  if (std::sscanf(text.c_str(), "%d:%d%n", &p.kept, &p.of, &end) != 2 || text.c_str()[end] != '\0' || p.kept < 1 || p.of <= p.kept ||
      p.of > 1024) {
    throw CLI::ValidationError("--pattern", text + " is not N:M with 0 < N < M <= 1024");
  }
  return p;
}

void add_options(CLI::App& app, options& o) {
  static const std::map<std::string, scope> scopes{{"row", scope::row}, {"tensor", scope::tensor}};
  static const std::map<std::string, std::optional<tg::type_id>> types{
      {"keep", std::nullopt}, {"f32", tg::f32::id},   {"f16", tg::f16::id},   {"bf16", tg::bf16::id},
      {"q8_0", tg::q8_0::id}, {"q4_0", tg::q4_0::id}, {"q4_k", tg::q4_k::id}, {"q8_256", tg::q8_256::id}};

  app.footer(exit_codes);
  program::add_options(app, o, "list the tensors and what would become of them");
  app.add_option("OUTPUT", o.output, "the new file; not needed with --list and --dry-run");
  app.add_flag("--dry-run", o.dry_run, "prune and report, but write no file");
  CLI::Option* const sparsity = app.add_option("--sparsity", o.how.sparsity, "the share of weights that is pruned")
                                    ->check(CLI::Range(0.0, 1.0).description(""))
                                    ->type_name("0..1")
                                    ->capture_default_str();
  CLI::Option* const within = app.add_option_function<std::string>(
                                     "--per", [&o](const std::string& name) { o.how.within = scopes.at(name); },
                                     "which weights are compared: those of a row (default) or of a tensor")
                                  ->check(CLI::IsMember(scopes))
                                  ->type_name("");
  app.add_option_function<std::string>(
         "--pattern", [&o](const std::string& text) { o.how.blocks = parse_pattern(text); },
         "keep N of every M consecutive weights of a row: 2:4")
      ->type_name("N:M")
      ->excludes(sparsity)
      ->excludes(within);
  app.add_option("--norms", o.norms,
                 "a GGUF file with the norms of columns: for a matrix NAME of N x K an F32 tensor NAME.norm of K numbers, or\n"
                 "their squares as NAME.in_sum2, which llama.cpp's llama-imatrix writes")
      ->type_name("FILE");
  app.add_option_function<std::string>(
         "--type", [&o](const std::string& name) { o.type = types.at(name); },
         "what pruned matrices are stored as. keep (default): the matrix's own type; what is not pruned keeps its\n"
         "bits. Q4_1, Q4_K and Q5_K have no exact zero. q4_k: written with minima of 8 scales, it has one.\n"
         "q8_256, int8 with a scale per 256, is tegula's own: with --sparse only")
      ->check(CLI::IsMember(types))
      ->type_name("");
  app.add_flag("--sparse", o.sparse,
               "write pruned matrices without their zeros: a file for tegula, that other readers can list. Of the types\n"
               "f16, bf16, q8_0, q4_0, q4_k and q8_256; f32 becomes bf16");
  app.add_flag("--expand", o.expand,
               "write a sparse file as the standard file that it would be without --sparse; prunes nothing. Not of q8_256")
      ->excludes("--sparse")
      ->excludes("--list")
      ->excludes("--dry-run");
  app.callback([&o] {
    if (o.output.empty() && !o.list && !o.dry_run) throw CLI::RequiredError("OUTPUT");
  });
}

// Says on stderr what cannot be done: each reason with the first tensor that it holds for.
int judge_plans(std::span<const plan> plans) {
  struct group {
    std::string first;
    std::size_t count = 0;
  };
  std::map<std::string, group> problems;
  for (const plan& p : plans) {
    if (p.problem.empty()) continue;
    group& same = problems[p.problem];
    if (same.count++ == 0) same.first = gguf::printable(p.tensor->name);
  }
  for (const auto& [problem, tensors] : problems) {
    const std::string others = tensors.count > 1 ? " and " + std::to_string(tensors.count - 1) + " more" : "";
    std::fprintf(stderr, "gguf_prune: %s%s: %s\n", tensors.first.c_str(), others.c_str(), problem.c_str());
  }
  return problems.empty() ? success : failure;
}

int list_all(const gguf::file& file, const options& o, std::span<const plan> plans) {
  if (prints_table(o)) {
    program::print_file(file);
    print_list(plans);
  }
  if (o.json) program::write_json(*o.json, list_json(file, o, plans));
  return judge_plans(plans);
}

// What the new file says of itself, after what the old one says.
gguf::metadata_writer new_metadata(const gguf::file& file, const options& o, std::span<const plan> plans) {
  gguf::metadata_writer metadata = copied_metadata(file, "tegula.prune.");
  metadata.add("tegula.prune.method", std::string(o.norms.empty() ? "magnitude " : "wanda ") + describe(o.how));
  metadata.add("tegula.prune.sparsity", static_cast<float>(o.how.share()));
  if (!o.sparse) return metadata;
  std::vector<gguf::sparse_matrix> matrices;
  for (const plan& p : plans) {
    if (p.pruned) matrices.push_back({p.tensor->name, p.stored.value, p.tensor->dims[1], p.tensor->dims[0]});
  }
  if (!matrices.empty()) add_sparse(metadata, matrices);
  return metadata;
}

// How a tensor is listed in the new file. The size of a sparse one is not known yet.
gguf::tensor new_tensor(const plan& p, const options& o) {
  gguf::tensor t = *p.tensor;
  if (!p.pruned) return t;
  t.type = o.sparse ? gguf::sparse_type : p.stored.value;
  if (o.sparse) {
    t.n_dims = 1;
    t.dims = {0, 1, 1, 1};
  }
  return t;
}

std::unique_ptr<gguf::writer> new_writer(const gguf::file& file, const options& o, std::span<const plan> plans) {
  if (o.dry_run) return nullptr;
  std::vector<gguf::tensor> tensors;
  for (const plan& p : plans) tensors.push_back(new_tensor(p, o));
  return std::make_unique<gguf::writer>(o.output, new_metadata(file, o, plans), std::move(tensors), file.alignment());
}

class job {
 public:
  job(const gguf::file& file, const options& o, std::span<const plan> plans)
      : file_(file), options_(o), pool_(o.threads), out_(new_writer(file, o, plans)) {
    if (!o.norms.empty()) norms_.emplace(o.norms);
  }

  result run(const plan& p) {
    result r;
    r.what = &p;
    const byte_sink take = [&](std::span<const std::byte> bytes) {
      r.bytes += bytes.size();
      if (out_) out_->append(bytes);
    };
    if (p.pruned) {
      prune_into(r, take);
    } else {
      copy(file_, *p.tensor, take);
    }
    if (out_) out_->end_tensor();
    return r;
  }

  void finish() {
    if (out_) out_->finish();
  }

 private:
  void prune_into(result& r, const byte_sink& take) {
    const plan& p = *r.what;
    const std::vector<float> norms = norms_ ? norms_->of(*p.tensor) : std::vector<float>{};
    if (!options_.sparse) {
      r.sums = prune(file_, p, options_.how, norms, pool_, take);
      return;
    }
    std::vector<std::byte> all;
    all.reserve(program::row_bytes(p.stored, p.tensor->dims[0]) * p.tensor->dims[1]);
    r.sums = prune(file_, p, options_.how, norms, pool_,
                   [&](std::span<const std::byte> rows) { all.insert(all.end(), rows.begin(), rows.end()); });
    r.density = write_sparse(p, all, pool_, take);
    if (out_) out_->current().dims[0] = r.bytes;
  }

  const gguf::file& file_;
  const options& options_;
  tg::thread_pool pool_;
  std::optional<column_norms> norms_;
  std::unique_ptr<gguf::writer> out_;
};

int prune_all(const gguf::file& file, const options& o, std::span<const plan> plans) {
  job work(file, o, plans);
  std::vector<result> results;
  std::optional<table> rows;
  if (prints_table(o)) {
    program::print_file(file);
    rows.emplace(plans);
  }
  {
    const program::progress_bar bar(plans.size());
    for (const plan& p : plans) {
      bar.show(results.size(), gguf::printable(p.tensor->name));
      results.push_back(work.run(p));
      bar.clear();
      if (rows) rows->print(results.back());
    }
    work.finish();
  }
  if (prints_table(o)) print_summary(results);
  if (o.json) program::write_json(*o.json, results_json(file, o, results));
  return success;
}

int expand_all(const gguf::file& file, const options& o) {
  const std::vector<gguf::sparse_matrix> matrices = gguf::read_sparse(file);
  if (matrices.empty()) throw std::runtime_error(o.path + " is not sparse: it has no " + std::string(gguf::sparse_keys) + "tensors");
  for (const gguf::sparse_matrix& m : matrices) {
    if (gguf::find_type(m.type) == nullptr)
      throw std::runtime_error(gguf::printable(m.name) + " is " + program::type_name(m.type) + ", which standard files do not have");
  }
  expand(file, matrices, o);
  return success;
}

int run(const options& o) {
  const gguf::file file(o.path);
  if (o.expand) return expand_all(file, o);
  if (!gguf::read_sparse(file).empty()) throw std::runtime_error(o.path + " is sparse; make it a standard file with --expand first");
  const std::vector<plan> plans = make_plans(file, o);
  if (o.list) return list_all(file, o, plans);
  if (const int status = judge_plans(plans); status != success) return status;
  return prune_all(file, o, plans);
}

}  // namespace
}  // namespace gguf_prune

int main(int argc, char** argv) {
  using namespace gguf_prune;
  CLI::App app(description, "gguf_prune");
  options o;
  add_options(app, o);
  return program::run(app, argc, argv, "use fewer --threads, or leave large matrices out with --tensor", [&] { return run(o); });
}
