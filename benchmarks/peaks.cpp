// Arithmetic: independent chains of one instruction in a loop, nothing else. Memory: a buffer read by vector loads, nothing
// written. The best of several runs counts.
#include "peaks.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "stopwatch.hpp"

namespace bench {
namespace {

// Work per second and run, with `threads` threads that start together; `body(thread)` does its share of the work.
template <class Body>
double best_rate(int threads, int runs, double work, Body body) {
  double best = 0;
  for (int run = 0; run < runs; ++run) {
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t)
      others.emplace_back([&, t] {
        ++ready;
        while (!go) {}
        body(t);
      });
    while (ready != threads - 1) std::this_thread::yield();
    const stopwatch time(threads);
    go = true;
    body(0);
    for (std::thread& other : others) other.join();
    best = std::max(best, work / time.seconds());
  }
  return best;
}

#if TEGULA_X86

// --- arithmetic ---------------------------------------------------------------------------------------------------

// 12 chains hide a latency of 4 cycles at 3 a cycle; registers 14 and 15 are the operands, zero, so that nothing overflows.
#define BENCH_CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define BENCH_REGISTERS \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15", "cc"
#define BENCH_CLEAR_SSE(R) "pxor %%xmm" #R ", %%xmm" #R "\n"
#define BENCH_CLEAR_AVX(R) "vpxor %%xmm" #R ", %%xmm" #R ", %%xmm" #R "\n"

#define BENCH_LOOP(NAME, TARGET, CLEAR, LINE, END)                                                                    \
  __attribute__((target(TARGET))) void NAME(long loops) {                                                             \
    asm volatile(BENCH_CHAINS(CLEAR) CLEAR(14) CLEAR(15) ".p2align 6\n1:\n" BENCH_CHAINS(LINE) "dec %0\njnz 1b\n" END \
                 : "+r"(loops)                                                                                        \
                 :                                                                                                    \
                 : BENCH_REGISTERS);                                                                                  \
  }

constexpr int chains = 12;

#define BENCH_PMADDWD(R) "pmaddwd %%xmm14, %%xmm" #R "\n"
#define BENCH_MUL_ADD(R) "mulps %%xmm14, %%xmm" #R "\naddps %%xmm15, %%xmm" #R "\n"
#define BENCH_MADDUBS(R) "vpmaddubsw %%ymm14, %%ymm15, %%ymm" #R "\n"
#define BENCH_FMA_YMM(R) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #R "\n"
#define BENCH_DPBUSD_YMM(R) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #R "\n"
#define BENCH_DPBUSD_ZMM(R) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #R "\n"
#define BENCH_DPBF16_ZMM(R) "vdpbf16ps %%zmm14, %%zmm15, %%zmm" #R "\n"
#define BENCH_FMA_ZMM(R) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #R "\n"
BENCH_LOOP(pmaddwd_xmm, "sse2", BENCH_CLEAR_SSE, BENCH_PMADDWD, "")
BENCH_LOOP(mul_add_xmm, "sse2", BENCH_CLEAR_SSE, BENCH_MUL_ADD, "")
BENCH_LOOP(maddubs_ymm, "avx2", BENCH_CLEAR_AVX, BENCH_MADDUBS, "vzeroupper")
BENCH_LOOP(fma_ymm, "avx2,fma", BENCH_CLEAR_AVX, BENCH_FMA_YMM, "vzeroupper")
BENCH_LOOP(dpbusd_ymm, "avx2", BENCH_CLEAR_AVX, BENCH_DPBUSD_YMM, "vzeroupper")
BENCH_LOOP(dpbusd_zmm, "avx512f", BENCH_CLEAR_AVX, BENCH_DPBUSD_ZMM, "vzeroupper")
BENCH_LOOP(dpbf16_zmm, "avx512f", BENCH_CLEAR_AVX, BENCH_DPBF16_ZMM, "vzeroupper")
BENCH_LOOP(fma_zmm, "avx512f", BENCH_CLEAR_AVX, BENCH_FMA_ZMM, "vzeroupper")

// Palette 1, eight tiles of 16 rows of 64 bytes.
struct alignas(64) tile_config {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(tile_config) == 64);

// Four accumulators hide the latency of a tile product (52 cycles, one starts every 16).
#define BENCH_TILE_LOOP(NAME, OP)                                                                                          \
  void NAME(long loops) {                                                                                                  \
    const tile_config config;                                                                                              \
    asm volatile(                                                                                                          \
        "ldtilecfg %1\n"                                                                                                   \
        "tilezero %%tmm0\ntilezero %%tmm1\ntilezero %%tmm2\ntilezero %%tmm3\n"                                             \
        "tilezero %%tmm4\ntilezero %%tmm5\ntilezero %%tmm6\ntilezero %%tmm7\n"                                             \
        ".p2align 6\n1:\n" OP " %%tmm6, %%tmm4, %%tmm0\n" OP " %%tmm7, %%tmm4, %%tmm1\n" OP " %%tmm6, %%tmm5, %%tmm2\n" OP \
        " %%tmm7, %%tmm5, %%tmm3\ndec %0\njnz 1b\ntilerelease"                                                             \
        : "+r"(loops)                                                                                                      \
        : "m"(config)                                                                                                      \
        : "cc");                                                                                                           \
  }
BENCH_TILE_LOOP(tile_int8, "tdpbssd")
BENCH_TILE_LOOP(tile_bf16, "tdpbf16ps")

// GOP/s of a loop whose body does `operations` of them.
double arithmetic_rate(int threads, void (*loop)(long), double operations) {
  const long loops = std::max(1000L, static_cast<long>(4e8 / operations));
  loop(loops);  // wakes the wide units
  return best_rate(threads, 16, operations * static_cast<double>(loops) * threads, [&](int) { loop(loops); }) / 1e9;
}

arithmetic_peak measure_arithmetic(tg::isa isa, int threads) {
  const auto rate = [&](void (*loop)(long), double operations) { return arithmetic_rate(threads, loop, operations); };
  arithmetic_peak p;
  switch (isa) {
    case tg::isa::scalar:  // compiled for the baseline, SSE2
      p.int8 = rate(pmaddwd_xmm, chains * 16);
      p.f32 = p.bf16 = rate(mul_add_xmm, chains * 8);
      break;
    case tg::isa::avx2:
      p.int8 = rate(maddubs_ymm, chains * 64);
      p.f32 = p.bf16 = rate(fma_ymm, chains * 16);
      break;
    case tg::isa::avx_vnni:
      p.int8 = rate(dpbusd_ymm, chains * 64);
      p.f32 = p.bf16 = rate(fma_ymm, chains * 16);
      break;
    case tg::isa::avx512:
      p.int8 = rate(dpbusd_zmm, chains * 128);
      p.f32 = rate(fma_zmm, chains * 32);
      p.bf16 = tg::cpu_report().bf16_pairs ? rate(dpbf16_zmm, chains * 64) : p.f32;
      break;
    case tg::isa::amx:
      p.int8 = rate(tile_int8, 4 * 2 * 16 * 16 * 64);
      p.bf16 = rate(tile_bf16, 4 * 2 * 16 * 16 * 32);
      p.f32 = rate(fma_zmm, chains * 32);
      break;
  }
  return p;
}

// --- reading ------------------------------------------------------------------------------------------------------

// 512 bytes a step.
#define BENCH_STEPS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define BENCH_READ_ZMM(R) "vmovdqu64 " #R "*64(%0), %%zmm" #R "\n"
#define BENCH_READ_YMM(R) "vmovdqu " #R "*64(%0), %%ymm" #R "\nvmovdqu " #R "*64+32(%0), %%ymm" #R "\n"
#define BENCH_READ_XMM(R)                                                \
  "movdqu " #R "*64(%0), %%xmm" #R "\nmovdqu " #R "*64+16(%0), %%xmm" #R \
  "\n"                                                                   \
  "movdqu " #R "*64+32(%0), %%xmm" #R "\nmovdqu " #R "*64+48(%0), %%xmm" #R "\n"
#define BENCH_READ(NAME, TARGET, LINE)                                                                                                 \
  __attribute__((target(TARGET))) void NAME(const std::byte* p, std::size_t bytes) {                                                   \
    for (const std::byte* end = p + bytes; p != end; p += 512) asm volatile(BENCH_STEPS(LINE) : : "r"(p) : "memory", BENCH_REGISTERS); \
  }
BENCH_READ(read_zmm, "avx512f", BENCH_READ_ZMM)
BENCH_READ(read_ymm, "avx2", BENCH_READ_YMM)
BENCH_READ(read_xmm, "sse2", BENCH_READ_XMM)

// Memory in huge pages where the system has them, so that page walks do not lower the roof.
class mapped_buffer {
 public:
  explicit mapped_buffer(std::size_t bytes) : bytes_(bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(p);
    madvise(data_, bytes_, MADV_HUGEPAGE);
    std::memset(data_, 1, bytes_);
  }
  ~mapped_buffer() { munmap(data_, bytes_); }
  mapped_buffer(const mapped_buffer&) = delete;
  mapped_buffer& operator=(const mapped_buffer&) = delete;

  [[nodiscard]] const std::byte* data() const { return data_; }

 private:
  std::byte* data_;
  std::size_t bytes_;
};

// GB/s of threads that each read a part of the buffer `times` times.
double read_rate(std::size_t bytes, int threads, int times) {
  const auto read = tg::supported(tg::isa::avx512) ? read_zmm : tg::supported(tg::isa::avx2) ? read_ymm : read_xmm;
  const mapped_buffer buffer(bytes);
  const std::size_t part = bytes / static_cast<std::size_t>(threads) / 512 * 512;
  const auto body = [&](int t) {
    for (int i = 0; i < times; ++i) read(buffer.data() + static_cast<std::size_t>(t) * part, part);
  };
  return best_rate(threads, 8, static_cast<double>(part) * threads * times, body) / 1e9;
}

#endif  // TEGULA_X86

}  // namespace

machine_peaks measure_peaks(int threads) {
  machine_peaks peaks;
  peaks.threads = threads;
#if TEGULA_X86
  for (const tg::isa isa : tg::all_isas)
    if (tg::supported(isa)) peaks.arithmetic[isa] = measure_arithmetic(isa, threads);
  peaks.memory = read_rate(std::size_t{512} << 20, threads, 1);
  peaks.cache = read_rate(cached_bytes, threads, 32);
#endif
  return peaks;
}

double peak_of(const machine_peaks& peaks, tg::isa isa, tg::compute mode, bool quantized_weights) {
  const auto found = peaks.arithmetic.find(isa);
  if (found == peaks.arithmetic.end()) return 0;
  if (mode == tg::compute::bf16) return found->second.bf16;
  return quantized_weights ? found->second.int8 : found->second.f32;
}

}  // namespace bench
