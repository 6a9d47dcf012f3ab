// A writer of GGUF files that holds no tensor: data goes to the file as it comes. See new_file.hpp for what becomes of a file
// that is not finished.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf.hpp"
#include "new_file.hpp"

namespace gguf {

// Metadata entries in the form of a file.
class metadata_writer {
 public:
  void copy(const file& from, const metadata& entry);
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, std::uint32_t value);
  void add(std::string_view key, float value);
  void add(std::string_view key, std::span<const std::string_view> values);
  void add(std::string_view key, std::span<const std::uint32_t> values);
  void add(std::string_view key, std::span<const std::uint64_t> values);

  std::uint64_t count() const noexcept { return count_; }
  const std::string& bytes() const noexcept { return bytes_; }

 private:
  void start(std::string_view key, value_type type);
  template <class T>
  void add_numbers(std::string_view key, value_type type, std::span<const T> values);

  std::string bytes_;
  std::uint64_t count_ = 0;
};

// Of a tensor, when the writer is made, only the name and the number of dimensions must be right: the rest may still be changed
// until finish(), which writes the header. Offsets and sizes are filled by the writer.
class writer {
 public:
  // Writes GGUF v3. `alignment`: what the metadata says, or 32 if they say nothing. Names must live as long as the writer.
  // Throws gguf::error for a tensor of a type whose layout is not known: its data have no known end. Everything here throws
  // std::runtime_error when the system refuses.
  writer(const std::string& path, metadata_writer metadata, std::vector<tensor> tensors, std::uint64_t alignment);

  // Data of the first tensor, end_tensor(), data of the second, and so on.
  void append(std::span<const std::byte> bytes);
  void end_tensor();
  tensor& current() { return tensors_.at(current_); }

  // Throws std::logic_error when the data that came are not those of the tensors' types and dimensions.
  void finish();
  std::uint64_t size() const noexcept { return file_.size(); }

 private:
  std::string header() const;
  void pad();

  new_file file_;
  metadata_writer metadata_;
  std::vector<tensor> tensors_;
  std::uint64_t alignment_, data_start_ = 0;
  std::size_t current_ = 0;
};

}  // namespace gguf
