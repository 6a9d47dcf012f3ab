// Calls the units of mixed_flags. On a CPU without AVX-512 it leaves out the one that is built for it: the others must not have
// been linked to that one's copy of anything.
#include <cstdio>
#include <cstring>

#include "unit.hpp"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--help") == 0) return std::puts("usage: mixed: 1 if units built with different flags disagree") < 0;
  const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const std::uint64_t baseline = baseline_unit(), fast_math = fast_math_unit(), third = v4 ? v4_unit() : baseline;
  std::printf("baseline %016llx fast-math %016llx x86-64-v4 %016llx%s\n", static_cast<unsigned long long>(baseline),
              static_cast<unsigned long long>(fast_math), static_cast<unsigned long long>(third), v4 ? "" : " (not run)");
  return baseline != 0 && baseline == fast_math && baseline == third ? 0 : 1;
}
