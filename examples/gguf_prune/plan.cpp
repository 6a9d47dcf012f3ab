// See plan.hpp.
#include "plan.hpp"

#include <set>

#include "program/types.hpp"
#include "quantize.hpp"

namespace gguf_prune {
namespace {

template <class... Formats>
std::string names_of(tg::format_list<Formats...>) {
  return ((std::string(Formats::name) + ' ') + ...);
}

// What pruned weights are stored as. Sparse matrices hold F32 as BF16.
tg::type_id stored_type(const gguf::tensor& t, const options& o) {
  const tg::type_id own{t.type};
  return o.type.value_or(o.sparse && own == tg::f32::id ? tg::bf16::id : own);
}

// Why a matrix cannot be pruned as asked for; empty: it can.
std::string problem_of(const gguf::tensor& t, const options& o) {
  const std::string own = gguf::type_name(t.type);
  if (gguf::find_type(t.type) == nullptr || !tg::supported(tg::type_id{t.type}))
    return "type " + own + " is not supported; leave the tensor out with --tensor";
  if (!o.type && !can_clear(tg::type_id{t.type})) return own + " has no exact zero for every weight; choose another type with --type";
  if (o.sparse && !program::contains(tg::sparse_formats{}, stored_type(t, o))) {
    return "sparse matrices hold " + names_of(tg::sparse_formats{}) + "and no " + program::type_name(stored_type(t, o).value) +
           "; choose one with --type";
  }
  if (!o.sparse && gguf::find_type(stored_type(t, o).value) == nullptr)
    return program::type_name(stored_type(t, o).value) + " is no type of standard files; add --sparse";
  if (o.how.blocks && t.dims[0] % static_cast<std::uint64_t>(o.how.blocks->of) != 0) {
    return "rows of " + std::to_string(t.dims[0]) + " weights are no multiple of " + std::to_string(o.how.blocks->of) +
           "; choose another --pattern";
  }
  if (o.type) {
    const std::uint64_t block = block_weights(*o.type);
    if (t.dims[0] % block != 0) {
      return "rows of " + std::to_string(t.dims[0]) + " weights are no multiple of the block of " + std::to_string(block) + " of " +
             program::type_name(o.type->value) + "; choose another --type";
    }
  }
  return {};
}

plan plan_of(const gguf::tensor& t, bool selected, const options& o) {
  plan p;
  p.tensor = &t;
  if (!selected) {
    p.note = "copied, not selected";
  } else if (t.n_dims < 2) {
    p.note = "copied, a vector";
  } else if (t.dims[2] != 1 || t.dims[3] != 1) {
    p.note = "copied, more than two dimensions";
  } else {
    p.pruned = true;
    p.stored = stored_type(t, o);
    p.problem = problem_of(t, o);
  }
  return p;
}

}  // namespace

std::vector<plan> make_plans(const gguf::file& file, const options& o) {
  const std::vector<const gguf::tensor*> list = program::select(file, o);
  const std::set<const gguf::tensor*> selected(list.begin(), list.end());
  std::vector<plan> plans;
  for (const gguf::tensor& t : file.tensors()) plans.push_back(plan_of(t, selected.contains(&t), o));
  return plans;
}

}  // namespace gguf_prune
