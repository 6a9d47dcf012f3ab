// The tensor types a GGUF file may hold: number, name, and the size of a block.
// It knows sizes only, of every type, so that a reader can check ranges and name what a program does not support;
// how a block is decoded is the business of tegula's formats.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace gguf {

// `block_elements` consecutive weights of a row take `block_bytes` bytes. Both are 0 for a type that ggml has withdrawn:
// its name is known, its layout is not.
struct type_info {
  std::uint32_t number;
  std::string_view name;
  std::uint32_t block_elements;
  std::uint32_t block_bytes;
};

inline constexpr std::array<type_info, 43> type_table{{
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},      {3, "Q4_1", 32, 20},
    {4, "Q4_2", 0, 0},        {5, "Q4_3", 0, 0},        {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},   {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},
    {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136},
    {24, "I8", 1, 1},         {25, "I16", 1, 2},        {26, "I32", 1, 4},        {27, "I64", 1, 8},
    {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {31, "Q4_0_4_4", 0, 0},
    {32, "Q4_0_4_8", 0, 0},   {33, "Q4_0_8_8", 0, 0},   {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},
    {36, "IQ4_NL_4_4", 0, 0}, {37, "IQ4_NL_4_8", 0, 0}, {38, "IQ4_NL_8_8", 0, 0}, {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
}};

// The table is indexed by number.
static_assert([] {
  for (std::uint32_t i = 0; i < type_table.size(); ++i)
    if (type_table[i].number != i) return false;
  return true;
}());

// Null for a number this table does not hold.
constexpr const type_info* find_type(std::uint32_t number) noexcept {
  return number < type_table.size() ? &type_table[number] : nullptr;
}

inline std::string type_name(std::uint32_t number) {
  const type_info* type = find_type(number);
  return type != nullptr ? std::string(type->name) : "type " + std::to_string(number);
}

}  // namespace gguf
