// See sparse.hpp.
#include "sparse.hpp"

#include <algorithm>
#include <cstring>
#include <map>

namespace gguf {
namespace {

constexpr std::uint32_t layout_version = 1;

// A compressed panel has 4 bytes for at most 2,048 weights even where all are zero.
constexpr std::uint64_t most_weights_a_byte = 1024;

std::string key(const char* name) { return std::string(sparse_keys) + name; }

// One member of all matrices, as it stands in the metadata.
template <class T, class Member>
std::vector<T> column(std::span<const sparse_matrix> matrices, Member sparse_matrix::* member) {
  std::vector<T> values;
  for (const sparse_matrix& m : matrices) values.push_back(m.*member);
  return values;
}

// An array of the list. All have as many elements as the first, `count`.
array_view read_array(const file& from, const char* name, value_type element, std::uint64_t count) {
  const std::optional<array_view> values = from.array(key(name));
  if (!values || values->element != element || values->count != count) {
    throw error(key(name) + " is not an array of " + std::to_string(count) + " values of type " +
                std::to_string(static_cast<std::uint32_t>(element)));
  }
  return *values;
}

template <class T>
T element(const array_view& values, std::size_t i) {
  T value;
  std::memcpy(&value, values.bytes.data() + i * sizeof value, sizeof value);
  return value;
}

std::vector<std::string_view> read_texts(const array_view& values) {
  std::vector<std::string_view> texts;
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < values.count; ++i) {
    std::uint64_t length = 0;
    std::memcpy(&length, values.bytes.data() + at, sizeof length);
    at += sizeof length;
    texts.emplace_back(reinterpret_cast<const char*>(values.bytes.data() + at), static_cast<std::size_t>(length));
    at += static_cast<std::size_t>(length);
  }
  return texts;
}

void check(const sparse_matrix& m) {
  const auto fail = [&](const std::string& problem) { throw error("sparse matrix \"" + printable(m.name) + "\": " + problem); };
  if (m.stored == nullptr) fail("there is no tensor of that name");
  if (m.stored->type != sparse_type || m.stored->n_dims != 1) fail("its tensor is not one dimension of " + type_name(sparse_type));
  if (m.rows == 0 || m.columns == 0 || m.rows > m.stored->bytes * most_weights_a_byte / m.columns) {
    fail(std::to_string(m.rows) + " x " + std::to_string(m.columns) + " weights in " + std::to_string(m.stored->bytes) + " bytes");
  }
}

}  // namespace

void add_sparse(metadata_writer& metadata, std::span<const sparse_matrix> matrices) {
  metadata.add(key("version"), layout_version);
  metadata.add(key("tensors"), column<std::string_view>(matrices, &sparse_matrix::name));
  metadata.add(key("types"), column<std::uint32_t>(matrices, &sparse_matrix::type));
  metadata.add(key("rows"), column<std::uint64_t>(matrices, &sparse_matrix::rows));
  metadata.add(key("columns"), column<std::uint64_t>(matrices, &sparse_matrix::columns));
}

std::vector<sparse_matrix> read_sparse(const file& from) {
  const auto is_ours = [](const metadata& entry) { return entry.key.starts_with(sparse_keys); };
  if (std::none_of(from.entries().begin(), from.entries().end(), is_ours)) return {};
  const std::optional<std::uint64_t> version = from.number(key("version"));
  if (version != layout_version) {
    throw error(key("version") + " is " + (version ? std::to_string(*version) : "missing") + ", read is " + std::to_string(layout_version));
  }

  const std::optional<array_view> names = from.array(key("tensors"));
  if (!names || names->element != value_type::string || names->count > from.tensors().size()) {
    throw error(key("tensors") + " is not an array of at most " + std::to_string(from.tensors().size()) + " names");
  }
  const array_view types = read_array(from, "types", value_type::uint32, names->count);
  const array_view rows = read_array(from, "rows", value_type::uint64, names->count);
  const array_view columns = read_array(from, "columns", value_type::uint64, names->count);

  std::map<std::string_view, const tensor*> tensors;
  for (const tensor& t : from.tensors()) tensors.emplace(t.name, &t);
  std::vector<sparse_matrix> matrices;
  for (const std::string_view name : read_texts(*names)) {
    const std::size_t i = matrices.size();
    const auto stored = tensors.find(name);
    matrices.push_back({name, element<std::uint32_t>(types, i), element<std::uint64_t>(rows, i), element<std::uint64_t>(columns, i),
                        stored != tensors.end() ? stored->second : nullptr});
    check(matrices.back());
    tensors.erase(stored);  // a second matrix of the same tensor will not find it
  }
  return matrices;
}

}  // namespace gguf
