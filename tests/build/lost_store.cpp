// A function that does what compilers have got wrong: it fills a scratch tile in its own frame, loads it, refills it and loads
// it again, with the configuration in its frame as well. The library's own kernels fill tiles in other functions, which hides
// such a fault; this one shows whether tile.hpp prevents it.
//
// With -DSTOCK_INTRINSICS the same by the compiler's intrinsics: g++ 12 deletes the first fill. That build must be found faulty,
// or the check is worth nothing.
#include <cstdio>
#include <cstring>

#include <immintrin.h>

#include <tegula/cpu.hpp>
#include <tegula/isa/amx/tile.hpp>

#if defined(STOCK_INTRINSICS)
TEGULA_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")
#else
TEGULA_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl")
#endif
namespace tegula::inline TEGULA_ABI::amx {

#if defined(STOCK_INTRINSICS)
#define LOAD(tile, p) _tile_loadd(tile, p, 64)
#define STORE(tile, p) _tile_stored(tile, p, 64)
#define MULTIPLY(c, a, b) _tile_dpbssd(c, a, b)
#else
#define LOAD(tile, p) tile_load<tile>(p)
#define STORE(tile, p) tile_store<tile>(p)
#define MULTIPLY(c, a, b) signed_bytes::multiply<c, a, b>()
#endif

// C[16][16] = A[16][64] * (twice B0 + twice B1), all tiles of 1 KiB.
TEGULA_NOINLINE inline void lost_store_probe(const std::byte* a, const std::byte* b0, const std::byte* b1, std::int32_t* c) {
  alignas(64) std::byte scratch[1024];
  const auto fill = [&](const std::byte* from) TEGULA_LAMBDA_INLINE {
    typedef std::uint8_t bytes __attribute__((vector_size(64)));
    TEGULA_UNROLL
    for (int r = 0; r < 16; ++r) {
      bytes row;
      __builtin_memcpy(&row, from + r * 64, 64);
      row += row;
      __builtin_memcpy(scratch + r * 64, &row, 64);
    }
  };
  const tile_config config({16, 16});
#if defined(STOCK_INTRINSICS)
  _tile_loadconfig(&config);
#else
  const tile_session session(config);
#endif
  LOAD(4, a);
  fill(b0);
  LOAD(6, scratch);
  MULTIPLY(0, 4, 6);
  fill(b1);
  LOAD(6, scratch);
  MULTIPLY(0, 4, 6);
  STORE(0, c);
#if defined(STOCK_INTRINSICS)
  _tile_release();
#endif
}

}  // namespace tegula::inline TEGULA_ABI::amx
TEGULA_END_TARGET

int main(int argc, char**) {
  namespace tg = tegula;
  if (argc > 1) return std::puts("usage: lost_store: 1 if a store around a tile load is lost, 77 without AMX") < 0;
  if (tg::cpu_report().best != tg::isa::amx) return 77;
  signed char a[16][64], b[2][16][64];  // B in VNNI order: [k / 4][n][k % 4]
  std::int32_t c[16][16];
  for (int i = 0; i < 1024; ++i) {
    a[i / 64][i % 64] = static_cast<signed char>(i * 7 % 31 - 15);
    b[0][i / 64][i % 64] = static_cast<signed char>(i * 5 % 61 - 30);
    b[1][i / 64][i % 64] = static_cast<signed char>(i * 3 % 37 - 18);
  }
  tg::amx::lost_store_probe(reinterpret_cast<const std::byte*>(a), reinterpret_cast<const std::byte*>(b[0]),
                            reinterpret_cast<const std::byte*>(b[1]), &c[0][0]);
  int wrong = 0;
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) {
      int sum = 0;
      for (int k = 0; k < 64; ++k) sum += a[m][k] * 2 * (b[0][k / 4][4 * n + k % 4] + b[1][k / 4][4 * n + k % 4]);
      wrong += sum != c[m][n];
    }
  std::printf("%d of 256 wrong\n", wrong);
  return wrong == 0 ? 0 : 1;
}
