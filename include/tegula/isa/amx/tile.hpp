// The AMX instructions, the tile configuration, and the session that holds it. Nothing else of the library touches tiles.
//
// Own asm instead of the compilers' intrinsics: g++ 11 and 12 delete the stores into a local configuration and may delete or
// sink those that refill a scratch tile, as they give the intrinsics no memory operand; each of these has a memory clobber.
#pragma once

#include <cstdint>

#include "../../core/types.hpp"

namespace tegula::inline TEGULA_ABI::amx {

inline constexpr int tile_rows = 16, tile_row_bytes = 64;
inline constexpr index_t tile_bytes = tile_rows * tile_row_bytes;

// Tiles are named by number; rows of a tile in memory are 64 bytes apart, everywhere.
template <int Tile>
TEGULA_INLINE void tile_load(const void* p) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(std::int64_t{tile_row_bytes}), "i"(Tile) : "memory");
}
template <int Tile>
TEGULA_INLINE void tile_store(void* p) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(std::int64_t{tile_row_bytes}), "i"(Tile) : "memory");
}
template <int Tile>
TEGULA_INLINE void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(Tile) : "memory");
}
template <int Tile>
TEGULA_INLINE void tile_store_and_zero(void* p) {
  tile_store<Tile>(p);
  tile_zero<Tile>();
}

// C += A * B. What the bytes of B are is a kernel's template parameter; A is int8, or bf16 with bf16.
struct signed_bytes {
  template <int C, int A, int B>
  TEGULA_INLINE static void multiply() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B) : "memory");
  }
};
struct unsigned_bytes {
  template <int C, int A, int B>
  TEGULA_INLINE static void multiply() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B) : "memory");
  }
};
struct bf16_pairs {
  template <int C, int A, int B>
  TEGULA_INLINE static void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B) : "memory");
  }
};

// Every kernel multiplies two tiles of A by two of B, into four accumulators:
//
//              B0 = tmm6   B1 = tmm7
//   A0 = tmm4  C0 = tmm0   C1 = tmm1
//   A1 = tmm5  C2 = tmm2   C3 = tmm3
//
// A product takes as many cycles as A has rows, so A1 and what is left of A0 get exactly the rows that exist.
struct alignas(64) tile_config {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {};

  explicit constexpr tile_config(const index_t (&of_a)[2])
      : rows{narrow(of_a[0]), narrow(of_a[0]), narrow(of_a[1]), narrow(of_a[1]), narrow(of_a[0]), narrow(of_a[1]), tile_rows, tile_rows} {}

 private:
  static constexpr std::uint8_t narrow(index_t count) { return static_cast<std::uint8_t>(count); }
};
static_assert(sizeof(tile_config) == 64);

// Tiles are the caller's property like any register, but no calling convention saves them and another library may reconfigure
// them between two calls. So each macro-kernel configures them on entry, which also zeroes them, and releases them on exit.
class tile_session {
 public:
  TEGULA_INLINE explicit tile_session(const tile_config& config) { asm volatile("ldtilecfg %0" ::"m"(config) : "memory"); }
  TEGULA_INLINE ~tile_session() { asm volatile("tilerelease" ::: "memory"); }
  tile_session(const tile_session&) = delete;
  tile_session& operator=(const tile_session&) = delete;
};

}  // namespace tegula::inline TEGULA_ABI::amx
