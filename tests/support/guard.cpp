#include "guard.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

namespace tests {

namespace {

constexpr std::size_t page = 4096;

std::size_t pages_of(std::size_t bytes) { return (bytes + page - 1) / page * page; }

// Pages for `size` bytes between two guard pages.
unsigned char* map_between_guards(std::size_t size) {
  void* mapping = mmap(nullptr, pages_of(size) + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  auto* first = static_cast<unsigned char*>(mapping) + page;
  if (size != 0 && mprotect(first, pages_of(size), PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  return first;
}

bool guarding = false;

}  // namespace

guarded::guarded(std::size_t size, bool at_start) : mapped_(pages_of(size) + 2 * page), size_(size) {
  unsigned char* first = map_between_guards(size);
  mapping_ = first - page;
  data_ = at_start ? first : first + pages_of(size) - size;
}
guarded::~guarded() { munmap(mapping_, mapped_); }

guard_allocations::guard_allocations() { guarding = true; }
guard_allocations::~guard_allocations() { guarding = false; }

}  // namespace tests

// Every aligned allocation keeps its size in a header, so that delete knows what to undo.
namespace {
struct header {
  void* base;
  std::size_t mapped;  // 0: from malloc
};
}  // namespace

void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  const std::size_t rounded = (size + unit - 1) / unit * unit, room = rounded + 2 * unit;
  unsigned char* p;
  header h{};
  if (tests::guarding && unit >= sizeof(header)) {
    unsigned char* first = tests::map_between_guards(room);
    h = {first - tests::page, tests::pages_of(room) + 2 * tests::page};
    p = first + tests::pages_of(room) - rounded;
  } else {
    h.base = std::malloc(room + sizeof(header));
    if (h.base == nullptr) throw std::bad_alloc();
    const auto start = reinterpret_cast<std::uintptr_t>(h.base) + sizeof(header);
    p = reinterpret_cast<unsigned char*>((start + unit - 1) / unit * unit);
  }
  std::memcpy(p - sizeof h, &h, sizeof h);
  return p;
}

void operator delete(void* p, std::align_val_t) noexcept {
  if (p == nullptr) return;
  header h;
  std::memcpy(&h, static_cast<unsigned char*>(p) - sizeof h, sizeof h);
  if (h.mapped != 0) munmap(h.base, h.mapped);
  else std::free(h.base);
}
void operator delete(void* p, std::size_t, std::align_val_t alignment) noexcept { operator delete(p, alignment); }
