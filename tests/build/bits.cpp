// Prints a hash of every kind of result of the library, a line each, and fails if two ISAs of this machine disagree. The lines
// are the same for every compiler, every flag and every machine: run_bits compares them. Compiled with all formats it is also
// the object whose warnings and instructions are checked: everything is instantiated here.
//
// Compile-time: BITS_FORMATS, a list of formats (all by default); BITS_NO_EXCEPTIONS with -fno-exceptions.

#include <cinttypes>
#include <cstdio>
#include <sstream>
#include <string_view>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#if defined(BITS_NO_EXCEPTIONS)
[[noreturn]] inline void stop(const char* message) {
  std::fprintf(stderr, "%s\n", message);
  std::exit(3);
}
#define TEGULA_ON_ERROR(message) stop(message)
#endif

#include "bits.hpp"

namespace {

using namespace bits;

struct shape {
  tg::index_t M, N, K;
};

int disagreements = 0;

// One line, and the comparison of an ISA's result with the first one's.
class result {
 public:
  explicit result(std::string what) : what_(std::move(what)) {}
  void add(tg::isa which, std::uint64_t value) {
    if (isas_++ == 0) {
      first_ = value;
    } else if (value != first_) {
      std::fprintf(stderr, "%s: %s has %016" PRIx64 ", scalar %016" PRIx64 "\n", what_.c_str(), tg::name_of(which), value, first_);
      ++disagreements;
    }
  }
  void print() const { std::printf("%s %016" PRIx64 "\n", what_.c_str(), first_); }

 private:
  std::string what_;
  int isas_ = 0;
  std::uint64_t first_ = 0;
};

// CPUs' own bf16 products have their orders, flush denormals, and are compared elsewhere.
bool same_bits_promised(tg::isa which, tg::compute mode) {
  const bool multiplies_pairs = which == tg::isa::amx || (which == tg::isa::avx512 && tg::cpu_report().bf16_pairs);
  return mode != tg::compute::bf16 || !multiplies_pairs;
}

template <class Function>
void for_each_isa(Function function) {
  for (const tg::isa which : tg::all_isas)
    if (tg::supported(which)) function(which);
}

// A dropped or sunk store leaves what was in the stack before: make sure that this is not the right value of an earlier call.
TEGULA_NOINLINE void poison_stack() {
  unsigned char bytes[200 << 10];
  std::memset(bytes, 0xa5, sizeof bytes);
  asm volatile("" : : "r"(bytes) : "memory");
}

template <class F, class A, class C, class Epilogue>
void print_product(const char* kind, const shape& s, tg::compute mode, const Epilogue& epilogue) {
  const auto blocks = weights<F>(s.N, s.K, 17);
  const auto w = tg::pack<F>(blocks.data(), {.N = s.N, .K = s.K});
  const auto a = activations<A>(s.M, s.K, 23);
  result line(std::string(F::name) + " " + tg::name_of(mode) + " " + kind + " " + std::to_string(s.M) + "x" + std::to_string(s.N) + "x" +
              std::to_string(s.K));
  for_each_isa([&](tg::isa which) {
    std::vector<C> c(static_cast<std::size_t>(s.M * s.N));
    poison_stack();
    tg::gemm(view(a, s.M), w, view(c, s.M), epilogue, {.isa = which, .compute = mode});
    if (same_bits_promised(which, mode)) line.add(which, hash(c));
  });
  line.print();
}

// Dense and sparse products of the same weights, whose bits are the same too.
template <class F>
void print_sparse_product(const shape& s, tg::compute mode) {
  const auto blocks = sparse_weights<F>(s.N, s.K, 17);
  const auto dense = tg::pack<F>(blocks.data(), {.N = s.N, .K = s.K});
  const auto sparse = tg::compress<F>(blocks.data(), {.N = s.N, .K = s.K});
  const auto a = activations<float>(s.M, s.K, 23);
  result line(std::string(F::name) + " " + tg::name_of(mode) + " sparse " + std::to_string(s.M) + "x" + std::to_string(s.N) + "x" +
              std::to_string(s.K));
  const auto add = [&](const auto& w, tg::isa which) {
    std::vector<float> c(static_cast<std::size_t>(s.M * s.N));
    poison_stack();
    tg::gemm(view(a, s.M), w, view(c, s.M), {.isa = which, .compute = mode});
    if (same_bits_promised(which, mode)) line.add(which, hash(c));
  };
  add(dense, tg::isa::scalar);
  for_each_isa([&](tg::isa which) { add(sparse, which); });
  line.print();
}

template <class F>
void print_dequantized(tg::index_t K) {
  const auto blocks = weights<F>(3, K, 5);
  result line(std::string(F::name) + " dequantize");
  for_each_isa([&](tg::isa which) {
    std::vector<float> out(static_cast<std::size_t>(3 * K));
    tg::dequantize<F>(blocks.data(), out.data(), 3 * K, {.isa = which, .compute = {}});
    line.add(which, hash(out));
  });
  line.print();
}

template <tg::byte_format F>
void print_quantized(tg::index_t count) {
  const auto values = activations<float>(1, count, 7);
  result line(std::string(F::name) + " quantize");
  for_each_isa([&](tg::isa which) {
    std::vector<unsigned char> blocks(tg::source_row_bytes<F>(count));
    tg::quantize<F>(values.data(), blocks.data(), count, {.isa = which, .compute = {}});
    line.add(which, hash(blocks));
  });
  line.print();
}

template <class F>
void check_unpack(tg::index_t N, tg::index_t K) {
  const auto blocks = weights<F>(N, K, 41);
  auto back = blocks;
  const auto check = [&](const char* what) {
    if (back == blocks) return;
    std::fprintf(stderr, "%s: %s differs from what was packed\n", F::name, what);
    ++disagreements;
  };
  std::memset(back.data(), 0, back.size());
  tg::unpack(tg::pack<F>(blocks.data(), {.N = N, .K = K}), back.data());
  check("unpack");
  if constexpr (tg::sparse_format<F>) {
    std::memset(back.data(), 0, back.size());
    tg::decompress(tg::compress<F>(blocks.data(), {.N = N, .K = K}), back.data());
    check("decompress");
  }
}

template <class F>
void print_format() {
  // Shapes astride the tile (16), the M block (32 rows of two tiles), the super-group, the unpacked chunk (2048 of K).
  constexpr bool any_k = tg::float_format<F>;
  constexpr tg::index_t less = any_k ? 3 : tg::detail::traits<F>::block_k == 32 ? 96 : 0;
  const auto bias = [](float value, tg::index_t m, tg::index_t n) { return value + static_cast<float>(m - n); };
  for (const tg::compute mode : {tg::compute::exact, tg::compute::bf16, tg::compute::requantized}) {
    if (mode == tg::compute::requantized && tg::float_format<F>) continue;
    for (const shape s : {shape{1, 33, 512 - less}, shape{5, 17, 2304}, shape{37, 48, 768 - less}, shape{16, 16, 256}})
      print_product<F, float, float>("plain", s, mode, tg::identity_epilogue{});
    if constexpr (tg::sparse_format<F>)
      for (const shape s : {shape{1, 33, 512 - less}, shape{37, 48, 2304 - less}}) print_sparse_product<F>(s, mode);
    print_product<F, float, float>("bias", {19, 20, 512}, mode, bias);
    print_product<F, tg::f16, tg::bf16>("f16 to bf16", {3, 40, 256}, mode, tg::identity_epilogue{});
    print_product<F, tg::bf16, tg::f16>("bf16 to f16", {33, 16, 256}, mode, tg::identity_epilogue{});
  }
  print_dequantized<F>(any_k ? 77 : 512);
  if constexpr (tg::byte_format<F>) print_quantized<F>(19 * 256);
  check_unpack<F>(19, 768 - less);
}

template <class... Formats>
void print_formats(tg::format_list<Formats...>) {
  (print_format<Formats>(), ...);
}

#if !defined(BITS_FORMATS)
#define BITS_FORMATS
using formats = tg::all_formats;

// The same through the type number, the thing that a GGUF reader does.
template <class F>
void check_any() {
  constexpr tg::index_t M = 3, N = 18, K = 512;
  const auto blocks = weights<F>(N, K, 3);
  const auto a = activations<float>(M, K, 4);
  std::vector<float> expected(M * N), c(M * N);
  tg::gemm(view(a, M), tg::pack<F>(blocks.data(), {.N = N, .K = K}), view(expected, M));
  const auto check = [&](const auto& w) {
    tg::gemm(tg::quantized_activations(view(a, M), w), w, view(c, M));
    if (hash(c) == hash(expected)) return;
    std::fprintf(stderr, "%s: the product by type number differs\n", F::name);
    ++disagreements;
  };
  std::stringstream file;
  tg::save(tg::pack(F::id, blocks.data(), {.N = N, .K = K}), file);
  check(tg::load<tg::any_packed_matrix>(file));
  if constexpr (tg::sparse_format<F>) {
    tg::save(tg::compress(F::id, blocks.data(), {.N = N, .K = K}), file);
    check(tg::load<tg::any_sparse_matrix>(file));
  }
}
template <class... Formats>
void check_all_any(tg::format_list<Formats...>) {
  (check_any<Formats>(), ...);
}
#else
using formats = tg::format_list<BITS_FORMATS>;
template <class List>
void check_all_any(List) {}
#endif

// A product of shapes that do not fit. The error must arrive: as an exception, or in TEGULA_ON_ERROR.
int provoke_error() {
  std::vector<float> a(2 * 32), c(2 * 3);
  const auto w = tg::packed_matrix<tg::f16>({.N = 3, .K = 33});
#if defined(BITS_NO_EXCEPTIONS)
  tg::gemm(view(a, 2), w, view(c, 2));
#else
  try {
    tg::gemm(view(a, 2), w, view(c, 2));
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
#endif
  return 0;
}

const char usage[] =
    "usage: bits [--ftz | --bad-shape]\n"
    "  Prints a hash of each kind of result; 1 if two ISAs of this machine disagree.\n"
    "  --ftz         with flush-to-zero and denormals-are-zero set in MXCSR\n"
    "  --bad-shape   only multiplies matrices that do not fit: the library's message, and 3\n";

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help") return std::fputs(usage, stdout) < 0;
    if (argument == "--bad-shape") return provoke_error();
#if defined(__SSE__)
    if (argument == "--ftz") {
      _mm_setcsr(_mm_getcsr() | 0x8040u);
      continue;
    }
#endif
    std::fprintf(stderr, "bits: unknown option %s\n%s", argv[i], usage);
    return 2;
  }
  print_formats(formats{});
  check_all_any(tg::all_formats{});
  std::printf("best ISA: %s\n", tg::name_of(tg::best_isa()));
  return disagreements == 0 ? 0 : 1;
}
