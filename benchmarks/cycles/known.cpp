// Loops whose cycles are known, a counted region each; self_test has the numbers. Compiled for Sapphire Rapids.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "../../tests/emulator/count.hpp"

namespace {

constexpr int passes = 1000;
alignas(64) std::int8_t a[2048], b[2048];
alignas(64) std::int32_t c[1024];

struct alignas(64) tile_config {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {};

  explicit tile_config(int rows_of_a) {
    for (int tile = 0; tile < 8; ++tile) rows[tile] = static_cast<std::uint8_t>(tile < 6 ? rows_of_a : 16);
  }
};

void configure(int rows_of_a) {
  const tile_config config(rows_of_a);
  _tile_loadconfig(&config);
  _tile_loadd(6, b, 64);  // the first use of a tile faults once: not counted
}

// Two tiles of A by two of B.
void blocked_products(const char* label, int rows_of_a) {
  configure(rows_of_a);
  const tegula::emulator::counted_region region(label);
  for (int i = 0; i < passes; ++i) {
    _tile_loadd(4, a, 64), _tile_loadd(5, a + 1024, 64), _tile_loadd(6, b, 64), _tile_loadd(7, b + 1024, 64);
    _tile_dpbssd(0, 4, 6), _tile_dpbssd(1, 4, 7), _tile_dpbssd(2, 5, 6), _tile_dpbssd(3, 5, 7);
  }
}

// One accumulator: each product waits for the one before it.
void chained_products() {
  configure(16);
  const tegula::emulator::counted_region region("chain");
  for (int i = 0; i < passes; ++i) _tile_dpbssd(0, 4, 6);
}

// Rows of a stored accumulator are read back in the same pass.
void drained_products() {
  configure(16);
  const tegula::emulator::counted_region region("drain");
  for (int i = 0; i < passes; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_stored(0, c, 64);
    for (int row = 0; row < 4; ++row) {
      const __m512i sums = _mm512_loadu_si512(c + 16 * row);
      asm volatile("" ::"v"(sums));
    }
  }
}

// TEXT 8 times a pass.
#define REPEAT(LABEL, TEXT, ...)                                                                                    \
  {                                                                                                                 \
    const tegula::emulator::counted_region region(LABEL);                                                           \
    for (int i = 0; i < passes; ++i) asm volatile(".rept 8\n\t" TEXT "\n\t.endr" : : "r"(a), "r"(c) : __VA_ARGS__); \
  }

void plain_instructions() {
  asm volatile("kxnorq %%k1, %%k1, %%k1" : : : "k1");
  REPEAT("vnni", "vpdpbusd %%zmm0, %%zmm1, %%zmm2", "xmm2")
  REPEAT("expand", "vpexpandb %%zmm0, %%zmm2 %{%%k1%}%{z%}", "xmm2")
  REPEAT("permute", "vpermb %%zmm0, %%zmm1, %%zmm2", "xmm2")
  REPEAT("ymm", "vpaddd %%ymm0, %%ymm1, %%ymm2", "xmm2")
  REPEAT("load", "vmovdqu64 (%0), %%zmm2", "xmm2")
  REPEAT("load256", "vmovdqu (%0), %%ymm2", "xmm2")
  REPEAT("store", "vmovdqu64 %%zmm0, (%1)", "memory")
  REPEAT("store64", "movq %%rax, (%1)", "memory")
  REPEAT("scalar", "addq %%rsi, %%rax\n\txorq %%rsi, %%rbx\n\tsubq %%rdi, %%rcx\n\torq %%rdi, %%rdx\n\tandq %%rdi, %%r8", "rax", "rbx",
         "rcx", "rdx", "r8", "cc")
  REPEAT("mixed", "vpaddd %%zmm0, %%zmm1, %%zmm2\n\tvpaddd %%ymm0, %%ymm1, %%ymm3", "xmm2", "xmm3")
}

}  // namespace

int main() {
  constexpr int request_permission = 0x1023, tile_data = 18;
  syscall(SYS_arch_prctl, request_permission, tile_data);
  blocked_products("tiles", 16);
  blocked_products("half", 8);
  chained_products();
  drained_products();
  _tile_release();
  plain_instructions();
}
