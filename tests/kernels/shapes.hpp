// The shapes of the grid: astride panels (16 columns), tiles and strips (16, 8, 4 .. rows), an M block (512 rows), groups (16, 32),
// super-groups (128, 256) and the chunk of K that is unpacked at a time (2048).
#pragma once

#include "../support/data.hpp"

namespace tests {

struct shape {
  tg::index_t M, N, K;
};

// K as the type's block allows: for blocks of 256, of 32, and for single weights.
struct grid_shape {
  tg::index_t M, N, K_256, K_32, K_1;

  [[nodiscard]] shape of(const block_info& type) const { return {M, N, type.block_k == 256 ? K_256 : type.block_k == 32 ? K_32 : K_1}; }
};

inline constexpr grid_shape grid[] = {
    {1, 1, 256, 32, 1},     {1, 16, 512, 64, 2},        {1, 33, 2304, 2336, 2081}, {2, 15, 768, 96, 15},    {3, 17, 256, 128, 16},
    {4, 31, 512, 160, 17},  {5, 32, 256, 224, 31},      {6, 1, 512, 256, 32},      {7, 48, 256, 288, 33},   {8, 16, 512, 384, 63},
    {9, 33, 256, 32, 64},   {12, 18, 2560, 2176, 2112}, {15, 16, 256, 64, 65},     {16, 16, 256, 256, 96},  {17, 17, 512, 416, 127},
    {31, 15, 256, 96, 129}, {32, 32, 256, 128, 256},    {33, 16, 512, 544, 255},   {37, 33, 768, 672, 257}, {529, 17, 256, 160, 34},
};

}  // namespace tests
