// How the library says that a call cannot be served: an exception whose message names the numbers.
#pragma once

#include <stdexcept>
#include <string>

#include "types.hpp"

namespace tegula::inline TEGULA_ABI::detail {

inline std::string to_text(const char* text) { return text; }
inline std::string to_text(const std::string& text) { return text; }
template <class Integer>
std::string to_text(Integer number) {
  return std::to_string(number);
}

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string text = "tegula: ";
  (text.append(to_text(parts)), ...);
  return text;
}

// Throws std::invalid_argument: the caller's mistake.
template <class... Parts>
[[noreturn]] TEGULA_NOINLINE void fail_argument(const Parts&... parts) {
  TEGULA_FAIL(std::invalid_argument, concat(parts...));
}

// Throws std::runtime_error: a file or a stream is at fault.
template <class... Parts>
[[noreturn]] TEGULA_NOINLINE void fail_file(const Parts&... parts) {
  TEGULA_FAIL(std::runtime_error, concat(parts...));
}

}  // namespace tegula::inline TEGULA_ABI::detail
