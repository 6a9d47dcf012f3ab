// What the CPU has, what the operating system enables, and what this process may use. CPUID alone is not enough: some virtual
// machines show AMX bits while its tile leaf is empty, XCR0 may lack a register state, and AMX needs a permission that the
// kernel can deny. All facts come through cpu_probe, so that tests can lie about each.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/options.hpp"

#if TEGULA_X86
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace tegula::inline TEGULA_ABI {

struct cpuid_registers {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// The one seam to the machine.
struct cpu_probe {
  cpuid_registers (*cpuid)(std::uint32_t leaf, std::uint32_t subleaf);
  std::uint64_t (*xcr0)();  // asked only if CPUID says that XGETBV may be used
  int (*request_amx)();     // asks the kernel for the tile state; 0 or the errno of the refusal. Asked only if all else is there
};

// A feature that an ISA needs, and how far it gets on this machine.
struct cpu_feature {
  const char* name;
  tegula::isa needed_by;
  bool in_cpuid = false, enabled = false, permitted = false;
  std::string why_not;  // empty if usable
};

struct cpu_description {
  std::vector<cpu_feature> features;
  isa best = isa::scalar;
  // How far ahead, in bytes, kernels with few rows of A fetch packed weights themselves; 0: the CPU's prefetchers do better alone.
  std::size_t prefetch_ahead = 0;
  // Whether bf16 mode on AVX-512 multiplies by VDPBF16PS, and not by f32 FMAs.
  bool bf16_pairs = false;

  [[nodiscard]] bool supports(isa which) const noexcept { return obstacle(which) == nullptr; }
  // The best ISA up to a cap.
  [[nodiscard]] isa best_up_to(isa cap) const noexcept {
    if (best <= cap) return best;
    isa found = isa::scalar;
    for (const isa which : all_isas)
      if (which <= cap && supports(which)) found = which;
    return found;
  }
  // The first obstacle to an ISA, in words; empty if there is none.
  [[nodiscard]] std::string why_not(isa which) const {
    const cpu_feature* missing = obstacle(which);
    return missing == nullptr ? std::string{} : std::string(missing->name) + ": " + missing->why_not;
  }
  // Whether a feature is usable.
  [[nodiscard]] bool has(std::string_view feature) const noexcept {
    for (const cpu_feature& f : features)
      if (f.name == feature) return f.why_not.empty();
    return false;
  }
  // A table for people: a line a feature.
  [[nodiscard]] std::string text() const {
    std::string table = "best ISA: " + std::string(name_of(best)) + "\n";
    for (const cpu_feature& f : features) {
      table += std::string(f.name).append(18 - std::string(f.name).size(), ' ') + "(" + name_of(f.needed_by) + ")  ";
      table += std::string("cpuid ") + (f.in_cpuid ? "yes" : "no") + ", enabled " + (f.enabled ? "yes" : "no") + ", permitted " +
               (f.permitted ? "yes" : "no") + (f.why_not.empty() ? "" : ": " + f.why_not) + "\n";
    }
    return table;
  }

 private:
  [[nodiscard]] const cpu_feature* obstacle(isa which) const noexcept {
    for (const cpu_feature& f : features)
      if (includes(which, f.needed_by) && !f.why_not.empty()) return &f;
    return nullptr;
  }
};

namespace detail {

struct feature_bit {
  const char* name;
  isa needed_by;
  std::uint32_t leaf, subleaf;
  std::uint32_t cpuid_registers::* reg;
  int bit;
  std::uint64_t states;  // XCR0 bits that it needs
};

inline constexpr std::uint64_t ymm_states = 0x6, zmm_states = 0xe6, tile_states = 0x60000;

// clang-format off
inline constexpr feature_bit feature_bits[] = {
    {"avx2", isa::avx2, 7, 0, &cpuid_registers::ebx, 5, ymm_states},
    {"fma", isa::avx2, 1, 0, &cpuid_registers::ecx, 12, ymm_states},
    {"f16c", isa::avx2, 1, 0, &cpuid_registers::ecx, 29, ymm_states},
    {"popcnt", isa::avx2, 1, 0, &cpuid_registers::ecx, 23, ymm_states},
    {"avx_vnni", isa::avx_vnni, 7, 1, &cpuid_registers::eax, 4, ymm_states},
    {"avx512f", isa::avx512, 7, 0, &cpuid_registers::ebx, 16, zmm_states},
    {"avx512dq", isa::avx512, 7, 0, &cpuid_registers::ebx, 17, zmm_states},
    {"avx512bw", isa::avx512, 7, 0, &cpuid_registers::ebx, 30, zmm_states},
    {"avx512vl", isa::avx512, 7, 0, &cpuid_registers::ebx, 31, zmm_states},
    {"avx512_vnni", isa::avx512, 7, 0, &cpuid_registers::ecx, 11, zmm_states},
    {"avx512_vbmi", isa::amx, 7, 0, &cpuid_registers::ecx, 1, zmm_states},
    {"avx512_vbmi2", isa::amx, 7, 0, &cpuid_registers::ecx, 6, zmm_states},
    {"avx512_vpopcntdq", isa::amx, 7, 0, &cpuid_registers::ecx, 14, zmm_states},
    {"gfni", isa::amx, 7, 0, &cpuid_registers::ecx, 8, zmm_states},
    {"avx512_bf16", isa::amx, 7, 1, &cpuid_registers::eax, 5, zmm_states},
    {"amx_tile", isa::amx, 7, 0, &cpuid_registers::edx, 24, tile_states},
    {"amx_int8", isa::amx, 7, 0, &cpuid_registers::edx, 25, tile_states},
    {"amx_bf16", isa::amx, 7, 0, &cpuid_registers::edx, 22, tile_states},
};
// clang-format on

// An ISA without a feature of its own would count as present wherever the one before it is.
static_assert([] {
  for (const isa which : all_isas) {
    bool found = which == isa::scalar;
    for (const feature_bit& bit : feature_bits) found = found || bit.needed_by == which;
    if (!found) return false;
  }
  return true;
}());

// Leaf 1D describes the tiles; the kernels need palette 1 as Sapphire Rapids has it.
inline bool tile_leaf_is_sane(const cpu_probe& probe) {
  if (probe.cpuid(0, 0).eax < 0x1d || probe.cpuid(0x1d, 0).eax < 1) return false;
  const cpuid_registers palette = probe.cpuid(0x1d, 1);
  const std::uint32_t total_bytes = palette.eax & 0xffff, tile_bytes = palette.eax >> 16;
  const std::uint32_t bytes_per_row = palette.ebx & 0xffff, tiles = palette.ebx >> 16, rows = palette.ecx & 0xffff;
  return total_bytes >= 8192 && tile_bytes >= 1024 && bytes_per_row >= 64 && tiles >= 8 && rows >= 16;
}

inline std::string why_amx_was_refused(int error) {
#if TEGULA_X86
  if (error == EPERM || error == EACCES) return "the kernel denied the tile state (EPERM): a seccomp filter or policy forbids arch_prctl";
  if (error == ENOSPC) return "the kernel denied the tile state (ENOSPC): a thread's sigaltstack is too small for it; enlarge it";
  if (error == EINVAL || error == EOPNOTSUPP || error == ENOSYS)
    return "the kernel does not know the tile state: it needs Linux 5.16 or newer";
#endif
  return "the kernel denied the tile state (errno " + std::to_string(error) + ")";
}

inline bool is_amd(const cpu_probe& probe) {
  const cpuid_registers vendor = probe.cpuid(0, 0);
  return vendor.eax >= 1 && vendor.ebx == 0x68747541;  // "Auth", the first letters of AuthenticAMD
}

// Where it was measured to pay. M = 1, weights from memory: Zen 5 reads K-quants twice as fast so, whatever the ISA, and the others at
// least as fast as before (8 KiB ahead; 4 and 6 KiB gain less). Zen 4 loses a sixth.
inline std::size_t prefetch_distance(const cpu_probe& probe) {
  constexpr std::uint32_t zen_5 = 0x1a;  // a family
  if (!is_amd(probe)) return 0;
  const std::uint32_t version = probe.cpuid(1, 0).eax, family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
  return family >= zen_5 ? 8192 : 0;
}

// `cap`: the best ISA that will ever be used. What is above it is described, but no permission is asked for. `pairs`: whether to take
// VDPBF16PS where it is there; unset, as it pays: AMD's has twice the products of an FMA a cycle (Zen 5: 536 and 272 GFLOP/s), that of
// Sapphire Rapids is four operations and slower than FMAs (LLVM's model).
inline cpu_description describe_cpu(const cpu_probe& probe, isa cap = isa::amx, std::optional<bool> pairs = {}) {
  cpu_description d;
  const std::uint32_t max_leaf = probe.cpuid(0, 0).eax;
  const bool can_read_xcr0 = max_leaf >= 1 && (probe.cpuid(1, 0).ecx >> 27 & 1u) != 0;
  const std::uint64_t xcr0 = can_read_xcr0 ? probe.xcr0() : 0;
  for (const feature_bit& bit : feature_bits) {
    cpu_feature f{bit.name, bit.needed_by, false, false, false, {}};
    f.in_cpuid = max_leaf >= bit.leaf && (probe.cpuid(bit.leaf, bit.subleaf).*bit.reg >> bit.bit & 1u) != 0;
    f.enabled = f.in_cpuid && (xcr0 & bit.states) == bit.states;
    if (!f.in_cpuid) f.why_not = "the CPU does not have it";
    else if (!f.enabled) f.why_not = "the operating system does not enable its registers (XCR0)";
    else if (bit.states == tile_states && !tile_leaf_is_sane(probe))
      f.why_not = "CPUID leaf 1D describes no usable tiles, as on some virtual machines";
    f.permitted = f.why_not.empty();
    d.features.push_back(std::move(f));
  }
  // The permission is asked for last, and only if it will be used: the process has it for good, with larger signal frames.
  if (d.why_not(isa::amx).empty()) {
    const bool wanted = cap >= isa::amx;
    const int refused = wanted ? probe.request_amx() : 0;
    for (cpu_feature& f : d.features) {
      if ((wanted && refused == 0) || std::string_view(f.name).substr(0, 4) != "amx_") continue;
      f.permitted = false;
      f.why_not = wanted ? why_amx_was_refused(refused) : "not asked for, as TEGULA_MAX_ISA is " + std::string(name_of(cap));
    }
  }
  for (const isa which : all_isas)
    if (d.supports(which)) d.best = which;
  d.prefetch_ahead = prefetch_distance(probe);
  d.bf16_pairs = d.supports(isa::avx512) && d.has("avx512_bf16") && pairs.value_or(is_amd(probe));
  return d;
}

#if TEGULA_X86
inline cpuid_registers read_cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  cpuid_registers r;
  asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
  return r;
}
inline std::uint64_t read_xcr0() {
  std::uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<std::uint64_t>(high) << 32 | low;
}
inline int request_amx_permission() {
  constexpr long get_permission = 0x1022, request_permission = 0x1023, tile_data = 18;  // asm/prctl.h since Linux 5.16
  if (syscall(SYS_arch_prctl, request_permission, tile_data) != 0) return errno;
  std::uint64_t granted = 0;
  if (syscall(SYS_arch_prctl, get_permission, &granted) != 0) return errno;
  return (granted >> tile_data & 1u) != 0 ? 0 : EPERM;
}
inline constexpr cpu_probe native_probe{read_cpuid, read_xcr0, request_amx_permission};
#else
inline constexpr cpu_probe native_probe{[](std::uint32_t, std::uint32_t) { return cpuid_registers{}; }, [] { return std::uint64_t{0}; },
                                        [] { return 1; }};
#endif

inline isa parse_isa(std::string_view name, const char* where) {
  std::string names;
  for (const isa which : all_isas) {
    if (name == name_of(which)) return which;
    names += std::string(names.empty() ? "" : ", ") + name_of(which);
  }
  fail_argument(where, "=", std::string(name), ": must be one of ", names);
}

inline isa environment_cap() {
  static const isa cap = [] {
    const char* text = std::getenv("TEGULA_MAX_ISA");
    return text == nullptr || *text == '\0' ? isa::amx : parse_isa(text, "TEGULA_MAX_ISA");
  }();
  return cap;
}

// TEGULA_BF16_PAIRS=0|1: not, or whatever the CPU.
inline std::optional<bool> environment_pairs() {
  const char* text = std::getenv("TEGULA_BF16_PAIRS");
  if (text == nullptr || *text == '\0') return {};
  if (std::string_view(text) == "0") return false;
  if (std::string_view(text) == "1") return true;
  fail_argument("TEGULA_BF16_PAIRS=", std::string(text), ": must be 0 or 1");
}

}  // namespace detail

// What this machine offers: each feature in CPUID, enabled by the operating system, permitted to this process, and why not.
// Asked once. Where AMX is there and TEGULA_MAX_ISA allows it, the first call asks the kernel for the permission to use it, for the
// whole process. The environment variable TEGULA_BF16_PAIRS=0|1 overrides bf16_pairs where the CPU has VDPBF16PS. Throws
// std::invalid_argument if that is something else, or TEGULA_MAX_ISA names no ISA.
inline const cpu_description& cpu_report() {
  static const cpu_description description =
      detail::describe_cpu(detail::native_probe, detail::environment_cap(), detail::environment_pairs());
  return description;
}

}  // namespace tegula::inline TEGULA_ABI
