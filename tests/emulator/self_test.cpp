// What the script `self_test` runs in the emulator: one mode per call, exit code 0 if the CPU did what it
// should. It tests the emulator, not the library, and so includes nothing of it.
//
// All instructions under test are asm: the program runs on any x86-64 CPU until it meets one.

#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "count.hpp"

namespace {

int fail(const char* what) {
  std::fprintf(stderr, "self_test: %s\n", what);
  return 1;
}

// ---- AMX ----------------------------------------------------------------------------------------

constexpr int rows = 16, row_bytes = 64, columns = 16;

struct alignas(64) tile_config {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {row_bytes, row_bytes, row_bytes};
  std::uint8_t rows[16] = {16, 16, 16};
};

template <class T>
struct alignas(64) tile {
  static constexpr int elements = row_bytes / int{sizeof(T)};
  T at[rows][elements];
};

// arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA): 0, or the error.
int ask_for_amx() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0 ? 0 : errno; }

// tmm0 = c + a * b, by the instruction PRODUCT.
#define SELF_TEST_TILE_PRODUCT(PRODUCT, c, a, b)                                     \
  do {                                                                               \
    const tile_config config;                                                        \
    asm volatile(                                                                    \
        "ldtilecfg %0\n\t"                                                           \
        "tileloadd (%1,%4,1), %%tmm0\n\t"                                            \
        "tileloadd (%2,%4,1), %%tmm1\n\t"                                            \
        "tileloadd (%3,%4,1), %%tmm2\n\t" PRODUCT                                    \
        " %%tmm2, %%tmm1, %%tmm0\n\t"                                                \
        "tilestored %%tmm0, (%1,%4,1)\n\t"                                           \
        "tilerelease"                                                                \
        :                                                                            \
        : "m"(config), "r"(&(c)), "r"(&(a)), "r"(&(b)), "r"(std::int64_t{row_bytes}) \
        : "memory");                                                                 \
  } while (false)

int amx_int8() {
  if (ask_for_amx() != 0) return fail("no permission for AMX");
  std::mt19937 random(1);
  tile<std::int8_t> a, b;  // b: [k/4][n][k%4], as the instruction wants it
  tile<std::int32_t> c, expected;
  for (auto& row : a.at)
    for (auto& x : row) x = static_cast<std::int8_t>(random());
  for (auto& row : b.at)
    for (auto& x : row) x = static_cast<std::int8_t>(random());
  for (auto& row : c.at)
    for (auto& x : row) x = static_cast<std::int32_t>(random() % 1000);
  expected = c;
  for (int m = 0; m < rows; ++m)
    for (int n = 0; n < columns; ++n)
      for (int k = 0; k < 64; ++k) expected.at[m][n] += a.at[m][k] * b.at[k / 4][4 * n + k % 4];
  SELF_TEST_TILE_PRODUCT("tdpbssd", c, a, b);
  return std::memcmp(&c, &expected, sizeof c) == 0 ? 0 : fail("tdpbssd: wrong product");
}

// Small whole numbers: exact in bf16, and so are their sums of products in float, in any order.
int amx_bf16() {
  if (ask_for_amx() != 0) return fail("no permission for AMX");
  std::mt19937 random(2);
  const auto bits = [](float x) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16); };
  const auto value = [](std::uint16_t x) { return std::bit_cast<float>(std::uint32_t{x} << 16); };
  const auto number = [&] { return static_cast<float>(random() % 64) - 32.0f; };
  tile<std::uint16_t> a, b;  // b: [k/2][n][k%2]
  tile<float> c, expected;
  for (auto& row : a.at)
    for (auto& x : row) x = bits(number());
  for (auto& row : b.at)
    for (auto& x : row) x = bits(number());
  for (auto& row : c.at)
    for (auto& x : row) x = number();
  expected = c;
  for (int m = 0; m < rows; ++m)
    for (int n = 0; n < columns; ++n)
      for (int k = 0; k < 32; ++k) expected.at[m][n] += value(a.at[m][k]) * value(b.at[k / 2][2 * n + k % 2]);
  SELF_TEST_TILE_PRODUCT("tdpbf16ps", c, a, b);
  return std::memcmp(&c, &expected, sizeof c) == 0 ? 0 : fail("tdpbf16ps: wrong product");
}

sigjmp_buf after_fault;

// True if a tile instruction that needs permission ends in SIGILL.
bool tile_data_faults() {
  signal(SIGILL, [](int) { siglongjmp(after_fault, 1); });
  if (sigsetjmp(after_fault, 1) != 0) return true;
  const tile_config config;
  asm volatile("ldtilecfg %0\n\ttilezero %%tmm0\n\ttilerelease" : : "m"(config));
  return false;
}

// The kernel knows AMX, nobody asked for it.
int amx_not_asked() { return tile_data_faults() ? 0 : fail("AMX works without arch_prctl"); }

// A seccomp filter refuses to ask.
int amx_denied() {
  const int error = ask_for_amx();
  if (error != EPERM) return fail(("arch_prctl: EPERM expected, got " + std::to_string(error)).c_str());
  return tile_data_faults() ? 0 : fail("AMX works although permission was denied");
}

// A CPU without AMX: the kernel says so, in one of several ways, and the instruction is unknown.
int amx_absent() {
  const int error = ask_for_amx();
  if (error == 0 || error == EPERM) {
    return fail(("arch_prctl: ENOSYS, EINVAL or EOPNOTSUPP expected, got " + std::to_string(error)).c_str());
  }
  return tile_data_faults() ? 0 : fail("AMX works on a CPU without it");
}

// Tile data must live through a switch to another thread that uses tiles too.
int amx_switch() {
  if (ask_for_amx() != 0) return fail("no permission for AMX");
  tile<std::int32_t> before, after;
  for (auto& row : before.at)
    for (auto& x : row) x = 12345;
  const tile_config config;
  const auto load = [&] {
    asm volatile("ldtilecfg %0\n\ttileloadd (%1,%2,1), %%tmm0" : : "m"(config), "r"(&before), "r"(std::int64_t{row_bytes}) : "memory");
  };
  load();
  std::thread([&] {
    const tile_config own;
    asm volatile("ldtilecfg %0\n\ttilezero %%tmm0\n\ttilerelease" : : "m"(own));
  }).join();
  asm volatile("tilestored %%tmm0, (%0,%1,1)\n\ttilerelease" : : "r"(&after), "r"(std::int64_t{row_bytes}) : "memory");
  return std::memcmp(&before, &after, sizeof before) == 0 ? 0 : fail("tile data was lost");
}

// ---- AVX ----------------------------------------------------------------------------------------

int avx2() {
  std::int32_t sum[8];
  asm volatile(
      "vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\tvpaddd %%ymm0, %%ymm0, %%ymm0\n\t"
      "vmovdqu %%ymm0, %0\n\tvzeroupper"
      : "=m"(sum)
      :
      : "xmm0");
  for (const std::int32_t x : sum)
    if (x != -2) return fail("vpaddd: wrong sum");
  return 0;
}

// 100 + 4 * (200 * -3) in each of the 16 lanes
int avx512_vnni() {
  const std::uint32_t a = 0xc8c8c8c8, b = 0xfdfdfdfd, c = 100;
  std::int32_t sum[16];
  asm volatile(
      "vpbroadcastd %1, %%zmm0\n\tvpbroadcastd %2, %%zmm1\n\tvpbroadcastd %3, %%zmm2\n\t"
      "vpdpbusd %%zmm1, %%zmm0, %%zmm2\n\tvmovdqu32 %%zmm2, %0\n\tvzeroupper"
      : "=m"(sum)
      : "m"(a), "m"(b), "m"(c)
      : "xmm0", "xmm1", "xmm2");
  for (const std::int32_t x : sum)
    if (x != 100 - 2400) return fail("vpdpbusd: wrong sum");
  return 0;
}

// ---- the launcher -------------------------------------------------------------------------------

// Exactly 1000 popcnt, for --counts.
int count() {
  const tegula::emulator::counted_region region("thousand");
  for (std::uint64_t n = 0; n < 1000; ++n) asm volatile("popcnt %0, %%rax" : : "r"(n) : "rax", "cc");
  return 0;
}

// show NAME ARGS...: the arguments to stdout, the variable NAME to stderr, no newline at the end of either.
int show(int argc, char** argv) {
  for (int n = 3; n < argc; ++n) std::fprintf(stdout, "[%s]", argv[n]);
  const char* const value = argc > 2 ? std::getenv(argv[2]) : nullptr;
  std::fprintf(stderr, "%s", value != nullptr ? value : "(unset)");
  return 0;
}

int copy_file(const char* path) {
  std::FILE* const file = std::fopen(path, "rb");
  if (file == nullptr) return fail("cannot open the file");
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) std::putchar(c);
  std::fclose(file);
  return 0;
}

int hang() {
  for (;;) asm volatile("");
}

int run_mode(const std::string& mode, int argc, char** argv) {
  if (mode == "amx_int8") return amx_int8();
  if (mode == "amx_bf16") return amx_bf16();
  if (mode == "amx_not_asked") return amx_not_asked();
  if (mode == "amx_denied") return amx_denied();
  if (mode == "amx_absent") return amx_absent();
  if (mode == "amx_switch") return amx_switch();
  if (mode == "avx2") return avx2();
  if (mode == "avx512_vnni") return avx512_vnni();
  if (mode == "count") return count();
  if (mode == "show") return show(argc, argv);
  if (mode == "cat" && argc > 2) return copy_file(argv[2]);
  if (mode == "exit" && argc > 2) return std::atoi(argv[2]);
  if (mode == "hang") return hang();
  return fail("unknown mode; the modes are in self_test.cpp, and the script self_test runs them");
}

}  // namespace

int main(int argc, char** argv) { return run_mode(argc > 1 ? argv[1] : "", argc, argv); }
