// The functions that unit.cpp becomes: built for the baseline CPU, for x86-64-v4, and with -ffast-math.
#pragma once

#include <cstdint>

std::uint64_t baseline_unit();
std::uint64_t v4_unit();
std::uint64_t fast_math_unit();
