// What the compiler and the platform force on every other file: the ABI namespace, inlining, target regions, the error hook.
// Holds no type and no function of the library.
#pragma once

#define TEGULA_VERSION_MAJOR 0
#define TEGULA_VERSION_MINOR 1
#define TEGULA_VERSION_PATCH 0

// The vector ISAs are compiled on Linux x86-64 with gcc or clang; every other platform has the scalar one.
#if defined(__x86_64__) && defined(__linux__)
#define TEGULA_X86 1
#else
#define TEGULA_X86 0
#endif

// Two translation units that were built with different -m flags must not share inline functions: the linker keeps one copy of
// each, and a baseline program would run the AVX-512 copy of, say, the CPU detector. So the flags choose the namespace, as far as
// they decide which vector registers are used, and so does the way errors are reported.
#if defined(__AVX512F__)
#define TEGULA_ABI_ISA built_for_avx512
#elif defined(__AVX2__)
#define TEGULA_ABI_ISA built_for_avx2
#elif defined(__AVX__)
#define TEGULA_ABI_ISA built_for_avx
#else
#define TEGULA_ABI_ISA built_for_baseline
#endif
#if defined(__FAST_MATH__)
#define TEGULA_ABI_MATH fast_math
#else
#define TEGULA_ABI_MATH strict_math
#endif
#if defined(TEGULA_ON_ERROR)
#define TEGULA_ABI_ERRORS on_error
#else
#define TEGULA_ABI_ERRORS throws
#endif
#define TEGULA_ABI_JOIN(a, b, c) a##_##b##_##c
#define TEGULA_ABI_NAME(a, b, c) TEGULA_ABI_JOIN(a, b, c)
#define TEGULA_ABI TEGULA_ABI_NAME(TEGULA_ABI_ISA, TEGULA_ABI_MATH, TEGULA_ABI_ERRORS)

#define TEGULA_INLINE inline __attribute__((always_inline))
#define TEGULA_NOINLINE __attribute__((noinline))
#define TEGULA_LAMBDA_INLINE __attribute__((always_inline))  // stands behind a lambda's parameter list

#define TEGULA_PRAGMA(text) _Pragma(#text)

// Stands before a loop of few, constant steps over registers, which must not remain a loop.
#if defined(__clang__)
#define TEGULA_UNROLL TEGULA_PRAGMA(clang loop unroll(full))
#else
#define TEGULA_UNROLL TEGULA_PRAGMA(GCC unroll 64)
#endif

// A target region: all that is defined inside, lambdas and templates included, is compiled for `features`. The user's
// -ffast-math must not reach the kernels either: it would reorder the one order of exact mode.
#if defined(__clang__)
#define TEGULA_BEGIN_TARGET(features) \
  TEGULA_PRAGMA(float_control(push))  \
  TEGULA_PRAGMA(float_control(precise, on)) TEGULA_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TEGULA_END_TARGET TEGULA_PRAGMA(clang attribute pop) TEGULA_PRAGMA(float_control(pop))
#define TEGULA_BEGIN_PRECISE TEGULA_PRAGMA(float_control(push)) TEGULA_PRAGMA(float_control(precise, on))
#define TEGULA_END_PRECISE TEGULA_PRAGMA(float_control(pop))
#else
#if defined(__FAST_MATH__)
#define TEGULA_NO_FAST_MATH TEGULA_PRAGMA(GCC optimize("no-fast-math"))
#else
#define TEGULA_NO_FAST_MATH
#endif
#define TEGULA_BEGIN_TARGET(features) TEGULA_PRAGMA(GCC push_options) TEGULA_PRAGMA(GCC target(features)) TEGULA_NO_FAST_MATH
#define TEGULA_END_TARGET TEGULA_PRAGMA(GCC pop_options)
#define TEGULA_BEGIN_PRECISE TEGULA_PRAGMA(GCC push_options) TEGULA_NO_FAST_MATH
#define TEGULA_END_PRECISE TEGULA_PRAGMA(GCC pop_options)
#endif

// Errors are thrown as std::invalid_argument (a caller's mistake) or std::runtime_error (a file's). With -fno-exceptions the
// user defines TEGULA_ON_ERROR(message), which takes a const char* and must not return.
#if defined(TEGULA_ON_ERROR)
#define TEGULA_FAIL(exception, message) \
  do {                                  \
    TEGULA_ON_ERROR((message).c_str()); \
    __builtin_trap();                   \
  } while (false)
#elif defined(__cpp_exceptions)
#define TEGULA_FAIL(exception, message) throw exception(message)
#else
#error "tegula without exceptions: define TEGULA_ON_ERROR(message) before the first include; it must not return"
#endif
