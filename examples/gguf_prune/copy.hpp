// What goes from the old file to the new one as it is.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string_view>

#include "gguf/writer.hpp"

namespace gguf_prune {

// Takes bytes of a tensor, in order.
using byte_sink = std::function<void(std::span<const std::byte>)>;

// Hands a tensor's bytes on, a few at a time.
inline void copy(const gguf::file& file, const gguf::tensor& t, const byte_sink& take) {
  constexpr std::uint64_t step = std::uint64_t{4} << 20;
  for (std::uint64_t at = 0; at < t.bytes; at += step) {
    const std::uint64_t bytes = std::min(step, t.bytes - at);
    take({file.data(t) + at, static_cast<std::size_t>(bytes)});
    file.drop_pages(t, at, bytes);
  }
}

// All metadata but those whose keys start with `left_out`.
inline gguf::metadata_writer copied_metadata(const gguf::file& file, std::string_view left_out) {
  gguf::metadata_writer metadata;
  for (const gguf::metadata& entry : file.entries()) {
    if (!entry.key.starts_with(left_out)) metadata.copy(file, entry);
  }
  return metadata;
}

}  // namespace gguf_prune
