// Counts executed instructions by opcode in a region of a program that runs in the emulator. The counts are
// exact and the same in every run, so a test may compare them where a time would be noise.
//
//   {
//     tegula::emulator::counted_region region("q4_k");
//     ...                                         // counted: user code only, this process and others
//   }
//   tests/emulator/run --counts FILE PROGRAM
//
// FILE gets a block of lines per region, in the order in which they end:
//
//   @@OPC q4_k vpdpbusd_VdqHdqWdq.512.mem 4096    label, opcode[.vector length][.mem], executions
//   @@OPC q4_k total 51234 tsc 51260              sum; instructions including the kernel's
//   @@PC q4_k 40a1c0 4096 65536                   with --count-addresses: label, address, executions, and of a tile
//                                                 instruction the rows that all its executions worked on
//
// Outside of the emulator a region has no effect: it asks CPUID for two leaves that no CPU has. This
// header needs nothing of the library and no compiler flag.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tegula::emulator {

class counted_region {
 public:
  // The first 8 characters of the label are kept; it should have no spaces. Regions do not nest.
  explicit counted_region(const char* label) noexcept {
    for (std::size_t n = 0; n < sizeof label_ && label[n] != '\0'; ++n) label_[n] = label[n];
    mark(0x53505201, 0);
  }

  ~counted_region() {
    std::uint64_t label;
    std::memcpy(&label, label_, sizeof label);
    mark(0x53505202, label);
  }

  counted_region(const counted_region&) = delete;
  counted_region& operator=(const counted_region&) = delete;

 private:
  // "memory" keeps the compiler from moving loads and stores of the region out of it.
  static void mark(std::uint32_t leaf, std::uint64_t label) noexcept {
#if defined(__x86_64__)
    std::uint32_t subleaf = 0;
    asm volatile("cpuid" : "+a"(leaf), "+c"(subleaf) : "S"(label) : "rbx", "rdx", "memory");
#else
    static_cast<void>(leaf);
    static_cast<void>(label);
#endif
  }

  char label_[8] = {};
};

}  // namespace tegula::emulator
