// Processes and their signal stacks.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs.hpp"

// Whether a child finds `check` true.
template <class Check>
bool in_child(Check check) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) return std::perror("fork"), false;
  if (child == 0) _exit(check() ? 0 : 1);
  int status = 0;
  if (waitpid(child, &status, 0) != child) return std::perror("waitpid"), false;
  if (WIFSIGNALED(status)) std::printf("the child died of signal %d\n", WTERMSIG(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

inline outcome fork_after_call() {
  const auto expected = multiply_all();
  bool right =
      in_child([&] { return same_bits(multiply_all(), expected) && in_child([&] { return same_bits(multiply_all(), expected); }); });
  right = same_bits(multiply_all(), expected) && right;
  return right_if(right);
}

inline outcome fork_before_call() {
  // A pipe brings the bits to the parent, whose first call comes later.
  int channel[2];
  if (pipe(channel) != 0) return std::perror("pipe"), outcome::wrong;
  const bool child = in_child([&] {
    std::uint64_t sum = 0;
    for (const auto& c : multiply_all()) sum = sum * 31 + bits::hash(c);
    return write(channel[1], &sum, sizeof sum) == sizeof sum;
  });
  std::uint64_t of_child = 0, sum = 0;
  if (!child || read(channel[0], &of_child, sizeof of_child) != sizeof of_child) return outcome::wrong;
  for (const auto& c : multiply_all()) sum = sum * 31 + bits::hash(c);
  return right_if(sum == of_child);
}

// The kernel grants tiles only if every thread's alternate signal stack has room for a frame with 8 KiB of them.
inline outcome small_signal_stack() {
  alignas(64) static unsigned char memory[4096];
  stack_t small{};
  small.ss_sp = memory;
  small.ss_size = sizeof memory;
  if (sigaltstack(&small, nullptr) != 0) return std::perror("sigaltstack"), outcome::skipped;

  const tg::cpu_description& report = tg::cpu_report();
  bool in_cpuid = true;
  for (const tg::cpu_feature& f : report.features) in_cpuid = in_cpuid && f.in_cpuid;
  if (!in_cpuid) return outcome::skipped;  // no AMX to be refused
  bool right = report.best == tg::isa::avx512;
  if (!right) std::printf("expected to fall back to avx512:\n%s", report.text().c_str());
  const std::string reason = report.why_not(tg::isa::amx);
  if (reason.find("sigaltstack") == std::string::npos) std::printf("not a clear reason: '%s'\n", reason.c_str()), right = false;

  for (const job& j : jobs()) right = same_bits(j.multiply(), j.multiply(tg::serial_executor{}, tg::isa::scalar)) && right;
  try {
    static_cast<void>(jobs().front().multiply(tg::serial_executor{}, tg::isa::amx));
    std::printf("AMX was asked for and ran\n");
    right = false;
  } catch (const std::invalid_argument& error) {
    if (std::string_view(error.what()).find("sigaltstack") == std::string_view::npos)
      std::printf("unclear: %s\n", error.what()), right = false;
  }
  return right_if(right);
}
