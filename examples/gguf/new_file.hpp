// A file that appears whole or not at all: it is written beside its place, under a name of its own, and takes its place when it
// is complete and on the disk. A file that stood there before stays until then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace gguf {

// One at a time in a process: the first one makes the process remove the unfinished file when a signal ends it.
class new_file {
 public:
  // All of these throw std::runtime_error with the path and the system's reason.
  explicit new_file(const std::string& path);
  ~new_file();  // removes what was not finished
  new_file(const new_file&) = delete;
  new_file& operator=(const new_file&) = delete;

  void append(std::span<const std::byte> bytes);
  void overwrite(std::uint64_t offset, std::span<const std::byte> bytes);
  void finish();

  std::uint64_t size() const noexcept { return size_; }

 private:
  std::string path_, unfinished_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace gguf
