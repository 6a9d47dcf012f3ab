// What this machine can do at best, measured: arithmetic peaks per ISA and read bandwidth, with so many threads at once. The
// roofs of the roofline. Nothing here runs tegula.
#pragma once

#include <map>

#include <tegula/tegula.hpp>

namespace bench {

namespace tg = tegula;

// One multiplication and one addition are two operations, for integers too.
struct arithmetic_peak {
  double int8 = 0;  // GOP/s of 8-bit products: the widest instruction of the ISA that multiplies and adds them
  double f32 = 0;   // GFLOP/s of f32 multiply-adds
  double bf16 = 0;  // GFLOP/s of bf16 multiply-adds; where the kernels of the ISA compute them in f32, that peak
};

struct machine_peaks {
  int threads = 1;
  std::map<tg::isa, arithmetic_peak> arithmetic;  // for every ISA that this machine has
  double memory = 0;                              // GB/s of reading far more than the caches hold; 0: not measured
  double cache = 0;                               // GB/s of reading `cached_bytes` again and again
};

inline constexpr std::size_t cached_bytes = std::size_t{9} << 20;  // 4096 x 4096 weights of 4.5 bits

// Takes about a second.
machine_peaks measure_peaks(int threads);

// Which peak bounds a product of weights of `format` with A in a mode.
double peak_of(const machine_peaks& peaks, tg::isa isa, tg::compute mode, bool quantized_weights);

}  // namespace bench
