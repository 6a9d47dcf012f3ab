// mapped_file: the system calls.
#include "mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace gguf {
namespace {

struct descriptor {
  int number;
  ~descriptor() {
    if (number >= 0) ::close(number);
  }
};

[[noreturn]] void fail(const std::string& path, const char* what) {
  throw std::runtime_error(path + ": " + what + ": " + std::generic_category().message(errno));
}

}  // namespace

mapped_file::mapped_file(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must fail below instead of waiting for its writer.
  const descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) fail(path, "cannot open");
  struct stat status {};
  if (::fstat(file.number, &status) != 0) fail(path, "cannot stat");
  if (!S_ISREG(status.st_mode)) throw std::runtime_error(path + ": not a regular file");
  if (status.st_size <= 0) throw std::runtime_error(path + ": the file is empty");
  size_ = static_cast<std::uint64_t>(status.st_size);
  void* const address = ::mmap(nullptr, static_cast<std::size_t>(size_), PROT_READ, MAP_PRIVATE, file.number, 0);
  if (address == MAP_FAILED) fail(path, "cannot map");
  data_ = static_cast<std::byte*>(address);
}

mapped_file::~mapped_file() { ::munmap(data_, static_cast<std::size_t>(size_)); }

void mapped_file::drop_pages(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t end = offset > size_ || bytes > size_ - offset ? size_ : offset + bytes;
  const std::uint64_t first = offset / page * page;
  if (first < end) ::madvise(data_ + first, static_cast<std::size_t>(end - first), MADV_DONTNEED);
}

}  // namespace gguf
