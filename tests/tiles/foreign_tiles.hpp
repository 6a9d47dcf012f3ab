// Other code in the process that uses tiles, before and after calls of the library.
#pragma once

#include <array>

#include "jobs.hpp"

struct foreign_configuration_data {
  alignas(64) std::array<std::uint8_t, 64> bytes{};
};

// 3 rows of 20 bytes for all tiles: a configuration that is of no use to anyone else.
inline foreign_configuration_data odd_configuration() {
  foreign_configuration_data c;
  c.bytes[0] = 1;
  for (std::size_t tile = 0; tile < 8; ++tile) {
    c.bytes[16 + 2 * tile] = 20;
    c.bytes[48 + tile] = 3;
  }
  return c;
}

inline void load_foreign_tiles() {
  const foreign_configuration_data c = odd_configuration();
  alignas(64) std::array<std::uint8_t, 1024> garbage;
  garbage.fill(0x7f);
  asm volatile(
      "ldtilecfg %0\n\t"
      "tileloadd (%1,%2,1), %%tmm0\n\t"
      "tileloadd (%1,%2,1), %%tmm3\n\t"
      "tileloadd (%1,%2,1), %%tmm4\n\t"
      "tileloadd (%1,%2,1), %%tmm7"
      :
      : "m"(c.bytes), "r"(garbage.data()), "r"(std::int64_t{64}), "m"(garbage)
      : "memory");
}

inline foreign_configuration_data stored_configuration() {
  foreign_configuration_data c;
  c.bytes.fill(0xff);
  asm volatile("sttilecfg %0" : "=m"(c.bytes) : : "memory");
  return c;
}

inline bool has_tiles() { return tg::best_isa() == tg::isa::amx; }

// Runs `disturb` before each job; the bits must be those of a run without it.
template <class Disturb>
outcome disturbed(Disturb disturb) {
  if (!has_tiles()) return outcome::skipped;
  const auto expected = multiply_all();
  bool right = true;
  for (std::size_t i = 0; i < jobs().size(); ++i) {
    disturb();
    right = same_bits(jobs()[i].multiply(), expected[i]) && right;
  }
  return right_if(right);
}

inline outcome foreign_configuration() { return disturbed(load_foreign_tiles); }
inline outcome foreign_release() {
  return disturbed([] { asm volatile("tilerelease" : : : "memory"); });
}

inline outcome own_tiles() {
  if (!has_tiles()) return outcome::skipped;
  bool right = true;
  for (const job& j : jobs()) {
    load_foreign_tiles();
    static_cast<void>(j.multiply());
    const auto after = stored_configuration().bytes;
    // Jobs of few rows run vector kernels and leave tiles alone; after the others they are in their initial state, which also
    // keeps context switches cheap.
    const bool untouched = after == odd_configuration().bytes, released = after == std::array<std::uint8_t, 64>{};
    const bool used_tiles = tg::last_kernel().find(" amx ") != std::string_view::npos;
    if (used_tiles ? !released : !untouched) {
      std::printf("%s left the tile configuration %s\n", tg::last_kernel().data(),
                  untouched  ? "as it was"
                  : released ? "released"
                             : "changed");
      right = false;
    }
  }
  return right_if(right);
}
