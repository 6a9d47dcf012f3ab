// aligned_buffer: owned bytes on a cache-line boundary.
#pragma once

#include <cstring>
#include <new>
#include <utility>

#include "error.hpp"

#if TEGULA_X86
#include <sys/mman.h>
#endif

namespace tegula::inline TEGULA_ABI {

// The bytes are not initialised: so each page comes to the memory of the thread that fills it, not of the one that allocates. Large
// buffers ask for huge pages, which Linux gives only on request by default: the weights of a layer need a thousand times fewer address
// translations then, and reading them gets up to half as fast again.
class aligned_buffer {
 public:
  static constexpr std::size_t alignment = 64;  // a cache line, a zmm register, a row of a tile

  aligned_buffer() = default;
  explicit aligned_buffer(std::size_t bytes)
      : data_(bytes == 0 ? nullptr : static_cast<std::byte*>(::operator new(bytes, alignment_of(bytes)))), size_(bytes) {
#if TEGULA_X86
    if (bytes >= large) ::madvise(data_, bytes, MADV_HUGEPAGE);  // a wish: what it returns does not matter
#endif
  }
  aligned_buffer(const aligned_buffer& other) : aligned_buffer(other.size_) {
    if (size_ != 0) std::memcpy(data_, other.data_, size_);
  }
  aligned_buffer(aligned_buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  aligned_buffer& operator=(aligned_buffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~aligned_buffer() {
    if (data_ != nullptr) ::operator delete(data_, alignment_of(size_));
  }

  [[nodiscard]] std::byte* data() noexcept { return data_; }
  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t huge_page = std::size_t{1} << 21, large = 2 * huge_page;
  static constexpr std::align_val_t alignment_of(std::size_t bytes) { return std::align_val_t{bytes < large ? alignment : huge_page}; }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tegula::inline TEGULA_ABI
