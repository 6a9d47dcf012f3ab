// Facts of types that are known by number only.
#pragma once

#include <string>

#include <tegula/tegula.hpp>

#include "gguf/ggml_types.hpp"

namespace program {

// As ggml has it, or of tegula's own types as tegula has it.
inline std::string type_name(std::uint32_t type) {
  if (gguf::find_type(type) != nullptr || !tegula::supported(tegula::type_id{type})) return gguf::type_name(type);
  return tegula::visit(tegula::type_id{type}, [](auto format) { return std::string(decltype(format)::name); });
}

// Of K weights that fill whole blocks. Throws std::invalid_argument for a type that tegula does not support.
inline std::uint64_t row_bytes(tegula::type_id type, std::uint64_t K) {
  return tegula::visit(
      type, [&](auto format) { return std::uint64_t{tegula::source_row_bytes<decltype(format)>(static_cast<tegula::index_t>(K))}; });
}

template <class... Formats>
bool contains(tegula::format_list<Formats...>, tegula::type_id type) {
  return ((type == Formats::id) || ...);
}

}  // namespace program
