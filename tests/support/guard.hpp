// Memory that ends, and begins, at a page nobody may touch: a read or write past it is a crash at once.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

namespace tests {

// `size` bytes that end right before a guard page (or, with at_start, begin right behind one).
class guarded {
 public:
  explicit guarded(std::size_t size, bool at_start = false);
  guarded(const guarded&) = delete;
  guarded& operator=(const guarded&) = delete;
  ~guarded();

  [[nodiscard]] unsigned char* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  template <class T>
  [[nodiscard]] T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  void* mapping_;
  std::size_t mapped_, size_;
  unsigned char* data_;
};

template <class T>
class guarded_copy : public guarded {
 public:
  explicit guarded_copy(const std::vector<T>& values, bool at_start = false) : guarded(values.size() * sizeof(T), at_start) {
    if (!values.empty()) std::memcpy(data(), values.data(), size());
  }
  [[nodiscard]] T* get() const { return as<T>(); }
};

// While one lives, aligned operator new gives guarded memory: the library's own buffers (packed panels, activations) then end at
// a guard page, up to the alignment.
class guard_allocations {
 public:
  guard_allocations();
  ~guard_allocations();
};

}  // namespace tests
