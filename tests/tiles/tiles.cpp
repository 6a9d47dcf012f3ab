// Tiles, threads and processes: what else a program may do around calls of the library. Each test is a process of its own, as
// the permission for AMX and a signal stack belong to the process.
//
// A caller that has tiles of its own live loses them: the library loads its own configuration and releases it. No calling
// convention saves tiles, and a program that uses them must expect this of every call, as of registers that a callee may change.

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "foreign_tiles.hpp"
#include "jobs.hpp"
#include "processes.hpp"
#include "threads.hpp"

namespace {

struct test {
  std::string_view name;
  outcome (*run)();
  const char* what;
};

constexpr test tests[] = {
    {"foreign_configuration", foreign_configuration, "other code loads a tile configuration and data between two calls"},
    {"foreign_release", foreign_release, "other code releases the tiles between two calls"},
    {"own_tiles", own_tiles, "a caller's live tiles are gone after a call, and nothing of the library's is left in them"},
    {"threads", threads, "64 threads multiply mixed shapes at once"},
    {"pool", pool, "several threads share one thread_pool, and workers share a product as (ith, nth)"},
    {"fork", fork_after_call, "a child of a process that has multiplied computes the same bits"},
    {"fork_first", fork_before_call, "a child multiplies before its parent has ever done so, then the parent does"},
    {"small_signal_stack", small_signal_stack, "a thread's sigaltstack is too small for tiles: AMX is refused with the reason"},
};

int usage(std::FILE* to) {
  std::fputs("usage: tiles TEST\n", to);
  for (const test& t : tests) std::fprintf(to, "  %-22.*s %s\n", static_cast<int>(t.name.size()), t.name.data(), t.what);
  std::fputs("TEGULA_EXPECT_ISA=amx|..: fails if another ISA is the best. Exit code: 0, 1 if wrong, 77 if this CPU lacks what it takes.\n",
             to);
  return to == stdout ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return usage(stderr);
  const std::string_view name = argv[1];
  if (name == "--help") return usage(stdout);
  for (const test& t : tests) {
    if (t.name != name) continue;
    outcome result = t.run();
    const char* expected = std::getenv("TEGULA_EXPECT_ISA");
    if (expected != nullptr && tg::name_of(tg::best_isa()) != std::string_view(expected) && name != "small_signal_stack") {
      std::printf("the best ISA is %s, expected %s\n", tg::name_of(tg::best_isa()), expected);
      result = outcome::wrong;
    }
    if (expected != nullptr && result == outcome::skipped) result = outcome::wrong;
    std::printf("%s: %s\n", argv[1], result == outcome::right ? "right" : result == outcome::wrong ? "WRONG" : "skipped");
    return result == outcome::right ? 0 : result == outcome::wrong ? 1 : 77;
  }
  std::fprintf(stderr, "tiles: no test %s\n", argv[1]);
  return usage(stderr);
}
