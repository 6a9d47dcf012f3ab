// Which ISA is chosen: the machine's best, below the caps of set_max_isa() and of TEGULA_MAX_ISA (CTest runs [caps] under several).
#include <cstdlib>

#include "../support/catch.hpp"
#include "../support/runner.hpp"

using namespace tests;

namespace {

tg::isa from_environment() {
  const char* name = std::getenv("TEGULA_MAX_ISA");
  for (const tg::isa isa : tg::all_isas)
    if (name != nullptr && tg::name_of(isa) == std::string(name)) return isa;
  return tg::isa::amx;
}

struct small_product {
  block_info type = info_of(tg::type_id{12});
  bytes blocks = random_blocks(type, 5, 256, 1);
  tg::any_packed_matrix w = pack(type, blocks.data(), 5, 256);
  // More rows than any table gives to the vector kernels, so that AMX runs where it may.
  static constexpr tg::index_t M = 32;
  std::vector<float> a = random_activations(M, 256, 2);

  std::string kernel(const call& how = {}) const {
    multiply(a, M, w, how);
    return std::string(tg::last_kernel());
  }
};

}  // namespace

TEST_CASE("set_max_isa and TEGULA_MAX_ISA cap the choice", "[caps]") {
  const tg::cpu_description& machine = tg::cpu_report();
  const small_product p;
  for (const tg::isa cap : tg::all_isas) {
    tg::set_max_isa(cap);
    const tg::isa lower = std::min(cap, from_environment());
    const auto allowed = [&](tg::isa isa) { return isa <= lower && machine.why_not(isa).empty(); };
    tg::isa expected = tg::isa::scalar;
    for (const tg::isa isa : tg::all_isas)
      if (allowed(isa)) expected = isa;
    INFO("machine " << tg::name_of(machine.best) << ", cap " << tg::name_of(cap));
    CHECK(tg::best_isa() == expected);
    for (const tg::isa isa : tg::all_isas) CHECK(tg::supported(isa) == allowed(isa));
    // What AMX has no kernel for yet runs on AVX-512, and says so; all else runs on the best.
    const std::string ran = p.kernel();
    CHECK((ran == std::string("q4_k ") + tg::name_of(expected) + " exact"));
    for (const tg::isa isa : tg::all_isas)
      if (allowed(isa)) CHECK(p.kernel(on(isa)) == std::string("q4_k ") + tg::name_of(isa) + " exact");
  }
  tg::set_max_isa(tg::isa::amx);
}

TEST_CASE("an ISA that cannot run here is an error that says why", "[caps]") {
  const small_product p;
  const tg::isa machine = tg::cpu_report().best;
  tg::set_max_isa(tg::isa::scalar);
  check_names(message_of<std::invalid_argument>([&] { p.kernel(on(tg::isa::avx2)); }),
              {"avx2", machine == tg::isa::scalar ? "avx2: the " : "capped at scalar"});
  tg::set_max_isa(tg::isa::amx);
  if (machine < tg::isa::amx)
    check_names(message_of<std::invalid_argument>([&] { p.kernel(on(tg::isa::amx)); }),
                {"ISA amx cannot run here", tg::cpu_report().why_not(tg::isa::amx).c_str()});
}

// Few rows of A do not fill tiles: there the vector kernels are the better choice, on AMX machines too.
TEST_CASE("small M chooses vector kernels", "[caps]") {
  const small_product p;
  const tg::isa best = tg::best_isa(), vector = std::min(best, tg::isa::avx512);
  for (tg::index_t M = 1; M <= 4; ++M) {
    multiply({p.a.begin(), p.a.begin() + M * 256}, M, p.w);
    CHECK(tg::last_kernel() == std::string("q4_k ") + tg::name_of(vector) + " exact");
  }
}

// Run with TEGULA_MAX_ISA=avx1024.
TEST_CASE("a TEGULA_MAX_ISA that names no ISA is an error at every call", "[.][unknown_cap]") {
  REQUIRE(std::getenv("TEGULA_MAX_ISA") != nullptr);
  for (int i = 0; i < 2; ++i)
    check_names(message_of<std::invalid_argument>([] { tg::best_isa(); }),
                {"TEGULA_MAX_ISA=avx1024", "scalar, avx2, avx_vnni, avx512, amx"});
}

// Run with TEGULA_BF16_PAIRS=yes.
TEST_CASE("a TEGULA_BF16_PAIRS that is neither 0 nor 1 is an error at every call", "[.][unknown_pairs]") {
  REQUIRE(std::getenv("TEGULA_BF16_PAIRS") != nullptr);
  for (int i = 0; i < 2; ++i) check_names(message_of<std::invalid_argument>([] { tg::best_isa(); }), {"TEGULA_BF16_PAIRS=yes", "0 or 1"});
}
