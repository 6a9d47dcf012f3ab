// A small, strict reader of GGUF files, versions 2 and 3 (little-endian): the list of tensors and the metadata.
// It decodes no weights; writer.hpp writes files.
//
// Nothing in a file is trusted. Every size, count, offset and alignment is checked, in arithmetic that cannot overflow,
// before it is used; what is wrong is a gguf::error that names the thing, the numbers and the byte. Reading a file
// allocates at most 120 bytes for each tensor and each metadata entry, of which there are at most 65,536 each, and
// every entry has its bytes in the file: a file cannot make the reader allocate by claiming. Names and texts are
// views into the mapping.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "ggml_types.hpp"
#include "mapped_file.hpp"

namespace gguf {

struct error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct tensor {
  std::string_view name;                          // 1 to 255 bytes, unique in the file; any bytes: see printable()
  std::uint32_t type = 0;                         // ggml's number
  std::uint32_t n_dims = 0;                       // 0 to 4
  std::array<std::uint64_t, 4> dims{1, 1, 1, 1};  // innermost first, each at least 1; of a weight matrix: K, N, 1, 1
  std::uint64_t offset = 0;                       // from the start of the file, a multiple of the file's alignment
  std::uint64_t bytes = 0;                        // [offset, offset + bytes) lies in the file; 0: the type's layout is unknown
};

// Numbers as the file has them.
enum class value_type : std::uint32_t {
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  float32,
  boolean,
  string,
  array,
  uint64,
  int64,
  float64
};

struct metadata {
  std::string_view key;
  value_type type{};
  std::uint64_t offset = 0;  // of the value, from the start of the file
  std::uint64_t bytes = 0;   // of the value; [offset, offset + bytes) lies in the file
};

// An array among the metadata; its elements as they are in the file, checked to lie in it.
struct array_view {
  value_type element{};
  std::uint64_t count = 0;
  std::span<const std::byte> bytes;
};

class file {
 public:
  // Maps and checks the whole header. Throws gguf::error for a file that is cut short, hostile, or not GGUF v2 / v3;
  // std::runtime_error for one that cannot be opened or mapped.
  explicit file(const std::string& path);

  std::uint32_t version() const noexcept { return version_; }
  std::uint64_t alignment() const noexcept { return alignment_; }
  std::uint64_t size() const noexcept { return mapping_.size(); }
  std::span<const tensor> tensors() const noexcept { return tensors_; }
  std::span<const metadata> entries() const noexcept { return entries_; }

  // The value of a metadata entry; nothing when there is no such key or it is of another type.
  std::optional<std::string_view> text(std::string_view key) const;
  std::optional<std::uint64_t> number(std::string_view key) const;  // of any unsigned type
  std::optional<array_view> array(std::string_view key) const;
  // The bytes of a value as they are in the file.
  std::span<const std::byte> value(const metadata& entry) const noexcept;

  const std::byte* data(const tensor& t) const noexcept { return mapping_.data() + t.offset; }
  // Gives back the memory of a part of a tensor's bytes that has been read; see mapped_file::drop_pages.
  void drop_pages(const tensor& t, std::uint64_t from, std::uint64_t bytes) const noexcept { mapping_.drop_pages(t.offset + from, bytes); }

 private:
  void read_header();
  const metadata* find(std::string_view key) const noexcept;

  mapped_file mapping_;
  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 32;  // the specification's default
  std::vector<tensor> tensors_;
  std::vector<metadata> entries_;
};

// A name from a file made safe to print: control characters and bytes above 126 become \xNN.
std::string printable(std::string_view name);

}  // namespace gguf
