// gemm() as users write it: which arguments may be left out, typed and untyped weights, what is refused, and which kernel ran.
#include <tegula/tegula.hpp>
#include <tegula/thread_pool.hpp>

#include <thread>

#include "../support/catch.hpp"
#include "../support/runner.hpp"

using namespace tests;

namespace {

constexpr tg::index_t M = 6, N = 18, K = 64;

struct problem {
  block_info type = info_of(tg::q8_0::id);
  bytes blocks = random_blocks(type, N, K, 1);
  tg::packed_matrix<tg::q8_0> w = tg::pack<tg::q8_0>(blocks.data(), {.N = N, .K = K});
  std::vector<float> values = random_activations(M, K, 2), out = std::vector<float>(M * N),
                     expected = multiply(values, M, tg::any_packed_matrix(w));
  tg::matrix_view<const float> a{values.data(), M, K};
  tg::matrix_view<float> c{out.data(), M, N};

  // Whether C has the product, plus n if an epilogue was to add it; clears C.
  bool is_right(bool plus_n = false) {
    bool right = true;
    for (std::size_t i = 0; i < out.size(); ++i) right = right && out[i] == expected[i] + (plus_n ? static_cast<float>(i % N) : 0.f);
    std::fill(out.begin(), out.end(), -1.f);
    return right;
  }
};

float add_n(float v, tg::index_t, tg::index_t n) { return v + static_cast<float>(n); }

}  // namespace

TEST_CASE("every form of gemm", "[gemm]") {
  problem p;
  tg::thread_pool pool(2);
  const tg::any_packed_matrix any = p.w;
  const tg::quantized_activations q(p.a, p.w);
  const auto plus_n = [](float v, tg::index_t, tg::index_t n) { return v + static_cast<float>(n); };

  tg::gemm(p.a, p.w, p.c);
  CHECK(p.is_right());
  tg::gemm(p.a, p.w, p.c, {.isa = tg::isa::scalar});
  CHECK(p.is_right());
  tg::gemm(p.a, p.w, p.c, pool);
  CHECK(p.is_right());
  tg::gemm(p.a, p.w, p.c, pool, {.compute = tg::compute::exact});
  CHECK(p.is_right());
  tg::gemm(p.a, p.w, p.c, plus_n);
  CHECK(p.is_right(true));
  tg::gemm(p.a, p.w, p.c, add_n, {.isa = tg::isa::scalar, .compute = tg::compute::exact});
  CHECK(p.is_right(true));
  tg::gemm(p.a, p.w, p.c, plus_n, pool);
  CHECK(p.is_right(true));
  tg::gemm(p.a, p.w, p.c, plus_n, tg::serial_executor{}, {.isa = tg::isa::scalar});
  CHECK(p.is_right(true));
  tg::gemm(q, p.w, p.c);
  CHECK(p.is_right());
  tg::gemm(q, p.w, p.c, plus_n);
  CHECK(p.is_right(true));
  for (tg::index_t ith = 0; ith < 2; ++ith) tg::gemm(q, p.w, p.c, tg::share(ith, 2));
  CHECK(p.is_right());
  tg::gemm(q, any, p.c);
  CHECK(p.is_right());
  tg::gemm(tg::matrix_view<float>(p.values.data(), M, K), p.w, p.c);  // A need not be const
  CHECK(p.is_right());
}

TEST_CASE("last_kernel is the thread's own", "[gemm]") {
  problem p;
  tg::gemm(p.a, p.w, p.c, {.isa = tg::isa::scalar});
  CHECK(tg::last_kernel() == "q8_0 scalar exact");
  std::string before, after;
  std::thread([&] {
    before = tg::last_kernel();
    std::vector<float> c(M * N);
    tg::gemm(p.a, p.w, tg::matrix_view<float>(c.data(), M, N), {.isa = tg::isa::scalar, .compute = tg::compute::bf16});
    after = tg::last_kernel();
  }).join();
  CHECK(before == "none");
  CHECK(after == "q8_0 scalar bf16");
  CHECK(tg::last_kernel() == "q8_0 scalar exact");
}

TEST_CASE("shapes that do not fit are errors, and nothing is written", "[gemm][errors]") {
  problem p;
  std::fill(p.out.begin(), p.out.end(), -1.f);
  const auto refused = [&](tg::index_t a_rows, tg::index_t a_cols, tg::index_t c_rows, tg::index_t c_cols) {
    return message_of<std::invalid_argument>([&] {
      tg::gemm(tg::matrix_view<const float>(p.values.data(), a_rows, a_cols), p.w, tg::matrix_view<float>(p.out.data(), c_rows, c_cols));
    });
  };
  check_names(refused(M, K - 1, M, N), {"63", "64"});
  check_names(refused(M, K, M, N - 1), {"C is 6 x 17", "6 x 18"});
  check_names(refused(M, K, M - 1, N), {"C is 5 x 18", "6 x 18"});
  check_names(refused(0, K, 1, N), {"C is 1 x 18", "0 x 18"});
  CHECK(std::count(p.out.begin(), p.out.end(), -1.f) == M * N);
}

TEST_CASE("views refuse what is no matrix", "[views][errors]") {
  float x[4] = {};
  using view = tg::matrix_view<float>;
  check_names(message_of<std::invalid_argument>([&] { view(x, -1, 2); }), {"-1 x 2"});
  check_names(message_of<std::invalid_argument>([&] { view(x, 1, -2); }), {"1 x -2"});
  check_names(message_of<std::invalid_argument>([&] { view(x, 2, 2, 1); }), {"2 x 2", "stride of 1"});
  check_names(message_of<std::invalid_argument>([&] { view(nullptr, 2, 2); }), {"2 x 2", "without data"});
  check_names(message_of<std::invalid_argument>([&] { view(x, tg::index_t{1} << 40, 1, tg::index_t{1} << 40); }),
              {"1099511627776", "64 bits"});
  CHECK(view(nullptr, 0, 2).cols() == 2);
  CHECK(view(nullptr, 2, 0).rows() == 2);
  CHECK(view(x, 2, 1, 2).row(1) == x + 2);
}

TEST_CASE("dequantize checks its count", "[dequantize][errors]") {
  float out[256];
  const unsigned char blocks[256] = {};
  check_names(message_of<std::invalid_argument>([&] { tg::dequantize<tg::q4_k>(blocks, out, 100); }), {"100", "q4_k", "256"});
  check_names(message_of<std::invalid_argument>([&] { tg::dequantize(tg::type_id{2}, blocks, out, -32); }), {"-32", "q4_0", "32"});
  check_names(message_of<std::invalid_argument>([&] { tg::dequantize(tg::type_id{77}, blocks, out, 32); }), {"77"});
  check_names(message_of<std::invalid_argument>([&] { tg::dequantize<tg::q4_k>(nullptr, out, 256); }), {"256", "q4_k", "without data"});
  tg::dequantize<tg::q4_k>(nullptr, nullptr, 0);
}

TEST_CASE("an empty product runs no kernel and touches nothing", "[gemm]") {
  problem p;
  tg::gemm(tg::matrix_view<const float>(p.values.data(), M, K), p.w, tg::matrix_view<float>(p.out.data(), M, N), {.isa = tg::isa::scalar});
  tg::set_max_isa(tg::isa::scalar);
  tg::gemm(tg::matrix_view<const float>(nullptr, 0, K), p.w, tg::matrix_view<float>(nullptr, 0, N), {.compute = tg::compute::bf16});
  tg::set_max_isa(tg::isa::amx);
  CHECK(tg::last_kernel() == "q8_0 scalar exact");
}

// A share does a part of the tasks: what needs all of them at once must not take it.
template <class A, class W>
concept gemm_takes_share = requires(A a, W w, tg::matrix_view<float> c, tg::share s) {
  tg::gemm(a, w, c, s);
};
static_assert(gemm_takes_share<const tg::quantized_activations&, const tg::any_packed_matrix&>);
static_assert(!gemm_takes_share<tg::matrix_view<const float>, const tg::any_packed_matrix&>);
static_assert(
    !std::is_constructible_v<tg::quantized_activations, tg::matrix_view<const float>, const tg::packed_matrix<tg::q4_k>&, tg::share>);
