// Which kernels run: the best ISA that the machine offers below the caps, and the one switch from an isa to its kernels.
#pragma once

#include <atomic>

#include "cpu.hpp"
#include "isa/scalar/kernels.hpp"
#if TEGULA_X86
#include "isa/amx/kernels.hpp"
#include "isa/avx2/kernels.hpp"
#include "isa/avx512/kernels.hpp"
#include "isa/avx_vnni/kernels.hpp"
#endif

namespace tegula::inline TEGULA_ABI {

namespace detail {

inline std::atomic<isa> max_isa{isa::amx};

inline isa cap() {
  const isa by_environment = environment_cap(), by_call = max_isa.load(std::memory_order_relaxed);
  return by_environment < by_call ? by_environment : by_call;
}

}  // namespace detail

// Caps what best_isa() may return, for all threads, from now on. The environment variable TEGULA_MAX_ISA=scalar|avx2|avx_vnni|avx512|amx
// does the same from outside; the lower of both counts.
inline void set_max_isa(isa cap) noexcept { detail::max_isa.store(cap, std::memory_order_relaxed); }

// The best ISA that the CPU has, the operating system enables, the process may use, and the caps allow. Throws
// std::invalid_argument if TEGULA_MAX_ISA names no ISA.
inline isa best_isa() { return cpu_report().best_up_to(detail::cap()); }

// Whether kernels of an ISA may run: the machine has it and no cap forbids it.
inline bool supported(isa which) { return which <= detail::cap() && cpu_report().supports(which); }

namespace detail {

// The ISA to use for a request. Throws std::invalid_argument, with the reason, if it cannot run here.
inline isa resolve_isa(std::optional<isa> requested) {
  if (!requested) return best_isa();
  if (supported(*requested)) return *requested;
  const std::string obstacle = cpu_report().why_not(*requested);
  fail_argument("ISA ", name_of(*requested),
                " cannot run here: ", obstacle.empty() ? "capped at " + std::string(name_of(cap())) : obstacle);
}

// Which parts of int8 activations products with F read: on any ISA without tiles, in either mode, and beyond that on tiles in exact mode.
template <class Kernels, quantized_format F>
inline constexpr a_parts parts_of = Kernels::template reads<F, compute::exact> | Kernels::template reads<F, compute::requantized>;
#if TEGULA_X86
template <quantized_format F>
inline constexpr a_parts vector_parts =
    parts_of<scalar::kernels, F> | parts_of<avx2::kernels, F> | parts_of<avx_vnni::kernels, F> | parts_of<avx512::kernels, F>;
template <quantized_format F>
inline constexpr a_parts tile_parts = amx::kernels::reads<F, compute::exact>;
#else
template <quantized_format F>
inline constexpr a_parts vector_parts = parts_of<scalar::kernels, F>;
template <quantized_format F>
inline constexpr a_parts tile_parts = 0;
#endif

// Calls function(kernels) with the entry points of an ISA that can run here.
template <class Function>
decltype(auto) with_kernels([[maybe_unused]] isa which, Function&& function) {
#if TEGULA_X86
  switch (which) {
    case isa::amx: return function(amx::kernels{});
    case isa::avx512: return function(avx512::kernels{});
    case isa::avx_vnni: return function(avx_vnni::kernels{});
    case isa::avx2: return function(avx2::kernels{});
    case isa::scalar: break;
  }
#endif
  return function(scalar::kernels{});
}

}  // namespace detail
}  // namespace tegula::inline TEGULA_ABI
