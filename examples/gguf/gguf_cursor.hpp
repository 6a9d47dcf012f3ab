// The one place that moves through a file's bytes: each read is checked against the end of the file before it is made.
// It knows nothing of GGUF but its strings (a length of 8 bytes, then the bytes).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "gguf.hpp"

namespace gguf {

inline std::string number_text(std::uint64_t n) { return std::to_string(n); }

// A position in the file, and what is being read there, for the error messages.
class cursor {
 public:
  explicit cursor(const mapped_file& file) : data_(file.data()), size_(file.size()) {}

  std::uint64_t position() const noexcept { return position_; }
  std::uint64_t remaining() const noexcept { return size_ - position_; }

  void enter(const char* kind, std::uint64_t index) {
    kind_ = kind;
    index_ = index;
    name_ = {};
  }
  void named(std::string_view name) { name_ = name; }

  [[noreturn]] void fail(const std::string& problem) const { fail_at(position_, problem); }

  [[noreturn]] void fail_at(std::uint64_t position, const std::string& problem) const {
    std::string where = kind_;
    if (index_ != no_index) where += ' ' + number_text(index_);
    if (!name_.empty()) where += " \"" + printable(name_.substr(0, longest_name_shown)) + '"';
    throw error(where + ", byte " + number_text(position) + ": " + problem);
  }

  // Takes `count` items of `bytes` bytes each; compared by division, so that no product overflows.
  const std::byte* take(std::uint64_t count, std::uint64_t bytes, const char* what) {
    if (count > remaining() / bytes) {
      fail(std::string("the file is cut short or lies: ") + what + " needs " + number_text(count) + " x " + number_text(bytes) +
           " bytes, " + number_text(remaining()) + " remain");
    }
    const std::byte* const at = data_ + position_;
    position_ += count * bytes;
    return at;
  }

  template <class T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(1, sizeof value, what), sizeof value);
    return value;
  }

  std::string_view text(std::uint64_t limit, const char* what) {
    const auto length = number<std::uint64_t>(what);
    if (length > limit) {
      fail(std::string(what) + " has " + number_text(length) + " bytes, at most " + number_text(limit) + " are allowed");
    }
    return {reinterpret_cast<const char*>(take(length, 1, what)), static_cast<std::size_t>(length)};
  }

 private:
  static constexpr std::size_t longest_name_shown = 255;
  static constexpr std::uint64_t no_index = std::numeric_limits<std::uint64_t>::max();

  const std::byte* data_;
  std::uint64_t size_;
  std::uint64_t position_ = 0;
  const char* kind_ = "header";
  std::uint64_t index_ = no_index;
  std::string_view name_;
};

}  // namespace gguf
