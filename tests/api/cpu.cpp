// What the library makes of the CPU: facts that lie, feature by feature, through the one seam, cpu_probe; and the machine itself.
#include <tegula/dispatch.hpp>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <utility>

#include "../support/catch.hpp"

namespace tg = tegula;

namespace {

// A Sapphire Rapids under Linux 5.16, until a test takes something away.
struct machine {
  std::map<std::pair<std::uint32_t, std::uint32_t>, tg::cpuid_registers> leaves;
  std::uint64_t xcr0 = 0x602e7;
  int refusal = 0;  // what asking for AMX gives
  int xcr0_reads = 0, requests = 0;

  machine() {
    leaves[{0, 0}].eax = 0x20;
    leaves[{1, 0}].ecx = 1u << 27 | 1u << 12 | 1u << 23 | 1u << 29;            // OSXSAVE, FMA, POPCNT, F16C
    leaves[{7, 0}].ebx = 1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // AVX2, AVX-512 F, DQ, BW, VL
    leaves[{7, 0}].ecx = 1u << 1 | 1u << 6 | 1u << 8 | 1u << 11 | 1u << 14;    // VBMI, VBMI2, GFNI, VNNI, VPOPCNTDQ
    leaves[{7, 0}].edx = 1u << 22 | 1u << 24 | 1u << 25;                       // AMX BF16, TILE, INT8
    leaves[{7, 1}].eax = 1u << 4 | 1u << 5;                                    // AVX_VNNI, AVX512_BF16
    leaves[{0x1d, 0}].eax = 1;                                                 // one palette
    leaves[{0x1d, 1}] = {.eax = 1024u << 16 | 8192u, .ebx = 8u << 16 | 64u, .ecx = 16, .edx = 0};
  }
} lie;

tg::cpu_description describe(machine m, std::optional<bool> pairs = {}) {
  lie = std::move(m);
  const tg::cpu_probe probe{
      .cpuid =
          [](std::uint32_t leaf, std::uint32_t subleaf) {
            const auto found = lie.leaves.find({leaf, subleaf});
            return found == lie.leaves.end() ? tg::cpuid_registers{} : found->second;
          },
      .xcr0 =
          [] {
            ++lie.xcr0_reads;
            return lie.xcr0;
          },
      .request_amx =
          [] {
            ++lie.requests;
            return lie.refusal;
          },
  };
  return tg::detail::describe_cpu(probe, tg::isa::amx, pairs);
}

template <class Change>
tg::cpu_description with(Change change, std::optional<bool> pairs = {}) {
  machine m;
  change(m);
  return describe(std::move(m), pairs);
}

const tg::cpu_feature& feature(const tg::cpu_description& d, const std::string& name) {
  for (const tg::cpu_feature& f : d.features)
    if (f.name == name) return f;
  FAIL("no feature " << name);
  throw;
}

}  // namespace

TEST_CASE("a whole Sapphire Rapids has AMX", "[cpu]") {
  const tg::cpu_description d = describe({});
  CHECK(d.best == tg::isa::amx);
  CHECK(d.why_not(tg::isa::amx).empty());
  for (const tg::isa isa : tg::all_isas) CHECK(d.supports(isa));
  CHECK(lie.requests == 1);
  for (const tg::cpu_feature& f : d.features) CHECK((f.in_cpuid && f.enabled && f.permitted && f.why_not.empty()));
}

TEST_CASE("each missing feature costs the ISAs that need it, and no other", "[cpu]") {
  for (const tg::detail::feature_bit& bit : tg::detail::feature_bits) {
    const tg::cpu_description d = with([&](machine& m) { m.leaves[{bit.leaf, bit.subleaf}].*bit.reg &= ~(1u << bit.bit); });
    INFO(bit.name);
    tg::isa best = tg::isa::scalar;
    for (const tg::isa isa : tg::all_isas) {
      CHECK(d.supports(isa) == !tg::includes(isa, bit.needed_by));
      if (!tg::includes(isa, bit.needed_by)) best = isa;
    }
    CHECK(d.best == best);
    CHECK(d.why_not(bit.needed_by) == std::string(bit.name) + ": the CPU does not have it");
    CHECK(!feature(d, bit.name).in_cpuid);
    CHECK(lie.requests == (best == tg::isa::amx));  // nobody asks for a permission that would be of no use
  }
}

// A Zen 4, an Ice Lake; and what is best below a cap there.
TEST_CASE("AVX-512 does without AVX-VNNI", "[cpu]") {
  const tg::cpu_description d = with([](machine& m) { m.leaves[{7, 1}].eax &= ~(1u << 4); });
  CHECK(d.best == tg::isa::amx);
  CHECK(d.supports(tg::isa::avx512));
  CHECK(!d.supports(tg::isa::avx_vnni));
  CHECK(d.best_up_to(tg::isa::avx512) == tg::isa::avx512);
  CHECK(d.best_up_to(tg::isa::avx_vnni) == tg::isa::avx2);
  CHECK(describe({}).best_up_to(tg::isa::avx_vnni) == tg::isa::avx_vnni);
  CHECK(describe({}).best_up_to(tg::isa::avx2) == tg::isa::avx2);
}

TEST_CASE("registers that the operating system does not enable", "[cpu]") {
  const std::pair<std::uint64_t, tg::isa> cases[] = {{0x602e7 & ~0x2u, tg::isa::scalar},
                                                     {0x602e7 & ~0x4u, tg::isa::scalar},
                                                     {0x602e7 & ~0x20u, tg::isa::avx_vnni},
                                                     {0x602e7 & ~0x40u, tg::isa::avx_vnni},
                                                     {0x602e7 & ~0x80u, tg::isa::avx_vnni},
                                                     {0x602e7 & ~0x20000u, tg::isa::avx512},
                                                     {0x602e7 & ~0x40000u, tg::isa::avx512},
                                                     {0x3, tg::isa::scalar},
                                                     {0x7, tg::isa::avx_vnni},
                                                     {0xe7, tg::isa::avx512},
                                                     {0, tg::isa::scalar}};
  for (const auto& [xcr0, best] : cases) {
    const tg::cpu_description d = with([xcr0 = xcr0](machine& m) { m.xcr0 = xcr0; });
    INFO("XCR0 = " << xcr0);
    CHECK(d.best == best);
    CHECK(d.why_not(tg::isa::amx).find("XCR0") != std::string::npos);
    CHECK(lie.requests == 0);
  }
}

TEST_CASE("without OSXSAVE nobody reads XCR0", "[cpu]") {
  const tg::cpu_description d = with([](machine& m) { m.leaves[{1, 0}].ecx &= ~(1u << 27); });
  CHECK(d.best == tg::isa::scalar);
  CHECK(lie.xcr0_reads == 0);
  CHECK(feature(d, "avx2").in_cpuid);
  CHECK(!feature(d, "avx2").enabled);
}

TEST_CASE("leaves that the CPU does not have are not believed", "[cpu]") {
  for (const std::uint32_t max_leaf : {0u, 1u, 6u}) {
    const tg::cpu_description d = with([&](machine& m) { m.leaves[{0, 0}].eax = max_leaf; });
    INFO("highest leaf " << max_leaf);
    CHECK(d.best == tg::isa::scalar);
    CHECK(!feature(d, "avx2").in_cpuid);
    CHECK(feature(d, "fma").in_cpuid == (max_leaf >= 1));
  }
}

TEST_CASE("AMX bits with an empty or odd tile leaf", "[cpu]") {
  const auto expect_avx512 = [](const char* what, const tg::cpu_description& d) {
    INFO(what);
    CHECK(d.best == tg::isa::avx512);
    CHECK(d.why_not(tg::isa::amx).find("1D") != std::string::npos);
    CHECK(lie.requests == 0);
  };
  using tg::cpuid_registers;
  expect_avx512("no leaf 1D", with([](machine& m) { m.leaves[{0, 0}].eax = 0x1c; }));
  expect_avx512("no palette", with([](machine& m) { m.leaves[{0x1d, 0}] = {}; }));
  expect_avx512("an empty palette", with([](machine& m) { m.leaves[{0x1d, 1}] = {}; }));
  expect_avx512("seven tiles", with([](machine& m) { m.leaves[{0x1d, 1}].ebx = 7u << 16 | 64u; }));
  expect_avx512("rows of 32 bytes", with([](machine& m) { m.leaves[{0x1d, 1}].ebx = 8u << 16 | 32u; }));
  expect_avx512("eight rows", with([](machine& m) { m.leaves[{0x1d, 1}].ecx = 8; }));
  expect_avx512("tiles of 512 bytes", with([](machine& m) { m.leaves[{0x1d, 1}].eax = 512u << 16 | 8192u; }));
}

TEST_CASE("a refused permission leaves AVX-512 and says why", "[cpu]") {
  const std::pair<int, const char*> refusals[] = {{EPERM, "EPERM"},     {EACCES, "seccomp"}, {ENOSPC, "sigaltstack"}, {EINVAL, "5.16"},
                                                  {EOPNOTSUPP, "5.16"}, {ENOSYS, "5.16"},    {EIO, "errno 5"}};
  for (const auto& [error, part] : refusals) {
    const tg::cpu_description d = with([error = error](machine& m) { m.refusal = error; });
    INFO("errno " << error);
    CHECK(d.best == tg::isa::avx512);
    tests::check_names(d.why_not(tg::isa::amx), {"amx_tile: the kernel", part});
    const tg::cpu_feature& f = feature(d, "amx_tile");
    CHECK((f.in_cpuid && f.enabled && !f.permitted));
    CHECK(feature(d, "avx512_vbmi").permitted);
    CHECK(d.why_not(tg::isa::avx512).empty());
  }
}

// Family 0x1a and after: 0xf in the base field, the rest in the extended one.
TEST_CASE("kernels fetch ahead where the CPU was measured to want it", "[cpu]") {
  const auto ahead = [](std::uint32_t vendor, std::uint32_t version) {
    return with([=](machine& m) {
             m.leaves[{0, 0}].ebx = vendor;
             m.leaves[{1, 0}].eax = version;
           })
        .prefetch_ahead;
  };
  constexpr std::uint32_t amd = 0x68747541, intel = 0x756e6547;
  CHECK(ahead(amd, 0x00b00f21) > 0);     // Zen 5
  CHECK(ahead(amd, 0x00a10f11) == 0);    // Zen 4
  CHECK(ahead(amd, 0x00800f12) == 0);    // Zen
  CHECK(ahead(intel, 0x000806f8) == 0);  // Sapphire Rapids
  CHECK(with([](machine& m) { m.leaves.clear(); }).prefetch_ahead == 0);
}

TEST_CASE("bf16 pairs are multiplied where the CPU was measured to want it, or the caller says so", "[cpu]") {
  const auto pairs = [](std::uint32_t vendor, std::optional<bool> wanted, bool there) {
    return with(
               [=](machine& m) {
                 m.leaves[{0, 0}].ebx = vendor;
                 if (!there) m.leaves[{7, 1}].eax &= ~(1u << 5);
               },
               wanted)
        .bf16_pairs;
  };
  constexpr std::uint32_t amd = 0x68747541, intel = 0x756e6547;
  CHECK(pairs(amd, {}, true));
  CHECK(!pairs(amd, false, true));
  CHECK(!pairs(amd, true, false));
  CHECK(!pairs(intel, {}, true));
  CHECK(pairs(intel, true, true));
}

TEST_CASE("the report names every feature and the best ISA", "[cpu]") {
  const std::string text = with([](machine& m) { m.refusal = EPERM; }).text();
  tests::check_names(
      text, {"avx2 ", "fma ", "f16c ", "popcnt ", "avx_vnni ", "avx512f ", "avx512dq ", "avx512bw ", "avx512vl ", "avx512_vnni ",
             "avx512_vbmi ", "avx512_vbmi2 ", "avx512_vpopcntdq ", "gfni ", "avx512_bf16 ", "amx_tile ", "amx_int8 ", "amx_bf16 "});
  tests::check_names(text, {"best ISA: avx512", "(amx)  cpuid yes, enabled yes, permitted no: the kernel denied",
                            "(avx2)  cpuid yes, enabled yes, permitted yes\n"});
  tests::check_names(with([](machine& m) { m.leaves.clear(); }).text(),
                     {"best ISA: scalar", "cpuid no, enabled no, permitted no: the CPU does not have it"});
}

// On this machine: as a launcher says it should be (TEGULA_EXPECT_ISA), else as the compiler's own detector sees it.
TEST_CASE("this machine", "[cpu][machine]") {
  const tg::cpu_description& d = tg::cpu_report();
  INFO(d.text());
  if (const char* expected = std::getenv("TEGULA_EXPECT_ISA"); expected != nullptr) {
    CHECK(std::string(tg::name_of(d.best)) == expected);
    const char* why_not = std::getenv("TEGULA_EXPECT_WHY_NOT");
    tests::check_names(d.why_not(tg::isa::amx), {why_not == nullptr ? "" : why_not});
    return;
  }
#if TEGULA_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  CHECK(d.supports(tg::isa::avx2) == avx2);
  CHECK(d.supports(tg::isa::avx512) == avx512);
#endif
}
