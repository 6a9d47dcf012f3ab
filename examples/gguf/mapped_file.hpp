// A whole file mapped read-only. It does not look into the file.
//
// The mapping is the file: if another process cuts the file short while it is mapped, reading past the new end raises
// SIGBUS. No reader of a mapping can prevent that; do not rewrite a model in place while it is in use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gguf {

class mapped_file {
 public:
  // Throws std::runtime_error with the path and the reason when `path` cannot be opened, or is no regular file, or is empty.
  explicit mapped_file(const std::string& path);
  ~mapped_file();
  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;

  const std::byte* data() const noexcept { return data_; }
  std::uint64_t size() const noexcept { return size_; }

  // Gives the memory of the pages that hold [offset, offset + bytes) back to the system. They stay readable: the next access
  // reads them from the file again.
  void drop_pages(std::uint64_t offset, std::uint64_t bytes) const noexcept;

 private:
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace gguf
