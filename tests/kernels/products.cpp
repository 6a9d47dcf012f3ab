// What a product is made of besides its kernel: epilogues, element types, strides, threads, empty shapes, very many columns.
#include <tegula/thread_pool.hpp>

#include "../support/catch.hpp"
#include "../support/reference.hpp"
#include "../support/runner.hpp"

#include <atomic>
#include <cstring>

using namespace tests;

namespace {

tg::index_t some_k(const block_info& type) { return type.block_k == 256 ? 256 : type.block_k == 32 ? 160 : 35; }

struct problem {
  tg::index_t M, N, K;
  std::vector<float> a;
  bytes blocks;
  tg::any_packed_matrix w;

  problem(const block_info& type, tg::index_t M_, tg::index_t N_, tg::index_t K_)
      : M(M_), N(N_), K(K_), a(random_activations(M, K, 21)), blocks(random_blocks(type, N, K, 22)), w(pack(type, blocks.data(), N, K)) {}
};

// The same numbers as T.
template <class T>
std::vector<T> as_narrow(const std::vector<float>& values) {
  std::vector<T> out;
  for (const float value : values) out.push_back(T(value));
  return out;
}

template <class A>
void check_input_type(const block_info& type, const problem& p, tg::isa isa, tg::compute mode) {
  const std::vector<A> narrow = as_narrow<A>(p.a);
  std::vector<float> wide, c(static_cast<std::size_t>(p.M * p.N));
  for (const A x : narrow) wide.push_back(static_cast<float>(x));
  multiply(tg::matrix_view<const A>(narrow.data(), p.M, p.K), p.w, tg::matrix_view<float>(c.data(), p.M, p.N), on(isa, mode));
  INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode) << ", A in " << A::name);
  CHECK(difference(c, multiply(wide, p.M, p.w, on(isa, mode)), p.N) == "");
}

template <class C, class Narrow>
void check_output_type(const block_info& type, const problem& p, tg::isa isa, tg::compute mode, Narrow narrow) {
  std::vector<C> c(static_cast<std::size_t>(p.M * p.N));
  multiply(tg::matrix_view<const float>(p.a.data(), p.M, p.K), p.w, tg::matrix_view<C>(c.data(), p.M, p.N), on(isa, mode));
  const std::vector<float> wide = multiply(p.a, p.M, p.w, on(isa, mode));
  int wrong = 0;
  for (std::size_t i = 0; i < c.size(); ++i) wrong += c[i].bits != narrow(wide[i]);
  INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode) << ", C in " << C::name);
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("a bias epilogue", "[epilogue]") {
  for (const block_info& type : all_types()) {
    const problem p(type, 19, 35, some_k(type));
    const std::vector<float> bias = random_activations(1, p.N, 5);
    const auto add = [&](float v, tg::index_t, tg::index_t n) { return v + bias[static_cast<std::size_t>(n)]; };
    for (const tg::compute mode : modes_of(type))
      for (const tg::isa isa : isas_here()) {
        std::vector<float> expected = multiply(p.a, p.M, p.w, on(isa, mode));
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += bias[i % bias.size()];
        call how = on(isa, mode);
        how.epilogue = epilogue_ref(add);
        INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode));
        CHECK(difference(multiply(p.a, p.M, p.w, how), expected, p.N) == "");
      }
  }
}

TEST_CASE("an epilogue sees every element once, with its place and value", "[epilogue]") {
  for (const block_info& type : all_types())
    for (const tg::index_t M : {1, 5, 37, 259}) {
      const problem p(type, M, 19, some_k(type));
      for (const tg::isa isa : isas_here()) {
        const std::vector<float> expected = multiply(p.a, p.M, p.w, on(isa));
        std::vector<int> calls(expected.size());
        bool right = true;
        const auto count = [&](float v, tg::index_t m, tg::index_t n) {
          right = right && m >= 0 && m < p.M && n >= 0 && n < p.N;
          if (!right) return v;
          const auto i = static_cast<std::size_t>(m * p.N + n);
          ++calls[i];
          right = std::memcmp(&v, &expected[i], 4) == 0;
          return static_cast<float>(m * 1000 + n);
        };
        call how = on(isa);
        how.epilogue = epilogue_ref(count);
        const std::vector<float> c = multiply(p.a, p.M, p.w, how);
        for (std::size_t i = 0; i < c.size(); ++i) right = right && calls[i] == 1 && c[i] == static_cast<float>(i / 19 * 1000 + i % 19);
        INFO(type.name << " " << tg::name_of(isa) << ", M = " << M);
        CHECK(right);
      }
    }
}

TEST_CASE("A and C in every element type", "[elements]") {
  for (const block_info& type : all_types()) {
    const problem p(type, 18, 17, some_k(type));
    for (const tg::compute mode : modes_of(type))
      for (const tg::isa isa : isas_here()) {
        check_input_type<tg::f16>(type, p, isa, mode);
        check_input_type<tg::bf16>(type, p, isa, mode);
        check_output_type<tg::f16>(type, p, isa, mode, reference::narrow_half);
        check_output_type<tg::bf16>(type, p, isa, mode, reference::narrow_bfloat);
      }
  }
}

TEST_CASE("rows with a stride", "[views]") {
  for (const block_info& type : all_types()) {
    const problem p(type, 18, 33, some_k(type));
    const tg::index_t lda = p.K + 13, ldc = p.N + 7;
    std::vector<float> wide(static_cast<std::size_t>(p.M * lda), 1e30f), c(static_cast<std::size_t>(p.M * ldc), -7.f);
    for (tg::index_t m = 0; m < p.M; ++m) std::copy_n(p.a.begin() + m * p.K, p.K, wide.begin() + m * lda);
    for (const tg::isa isa : isas_here()) {
      multiply(tg::matrix_view<const float>(wide.data(), p.M, p.K, lda), p.w, tg::matrix_view<float>(c.data(), p.M, p.N, ldc), on(isa));
      std::vector<float> dense, expected = multiply(p.a, p.M, p.w, on(isa));
      bool gaps_kept = true;
      for (tg::index_t i = 0; i < p.M * ldc; ++i)
        if (i % ldc < p.N) dense.push_back(c[static_cast<std::size_t>(i)]);
        else gaps_kept = gaps_kept && c[static_cast<std::size_t>(i)] == -7.f;
      INFO(type.name << " " << tg::name_of(isa));
      CHECK(difference(dense, expected, p.N) == "");
      CHECK(gaps_kept);
    }
  }
}

TEST_CASE("the number of threads changes no bit", "[threads]") {
  tg::thread_pool two(2), five(5);
  for (const block_info& type : all_types())
    for (const auto& [M, N] : {std::pair<tg::index_t, tg::index_t>{1, 130}, {37, 33}, {290, 18}, {600, 3}}) {
      const problem p(type, M, N, some_k(type));
      for (const tg::compute mode : modes_of(type)) {
        if (mode != tg::compute::exact && M != 37) continue;
        for (const tg::isa isa : isas_here()) {
          const std::vector<float> serial = multiply(p.a, p.M, p.w, on(isa, mode));
          INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode) << ", M = " << M);
          for (tg::thread_pool* pool : {&two, &five}) {
            call how = on(isa, mode);
            how.executor = executor_ref(*pool);
            INFO(pool->size() << " threads");
            CHECK(difference(multiply(p.a, p.M, p.w, how), serial, N) == "");
          }
          for (const tg::index_t nth : {2, 7}) {
            tg::quantized_activations q = prepare(tg::matrix_view<const float>(p.a.data(), M, p.K), p.w, on(isa, mode));
            std::vector<float> c(serial.size(), -1.f);
            for (tg::index_t ith = 0; ith < nth; ++ith) {
              tg::share part(ith, nth);
              call how = on(isa, mode);
              how.executor = executor_ref(part);
              multiply(q, p.w, tg::matrix_view<float>(c.data(), M, N), how);
            }
            INFO(nth << " shares");
            CHECK(difference(c, serial, N) == "");
          }
        }
      }
    }
}

TEST_CASE("empty shapes", "[shapes]") {
  for (const block_info& type : all_types()) {
    const tg::index_t K = some_k(type);
    const auto fail_if_called = [](float v, tg::index_t, tg::index_t) {
      FAIL("the epilogue of an empty product was called");
      return v;
    };
    for (const tg::compute mode : modes_of(type))
      for (const tg::isa isa : isas_here()) {
        INFO(type.name << " " << tg::name_of(isa) << " " << tg::name_of(mode));
        call how = on(isa, mode);
        how.epilogue = epilogue_ref(fail_if_called);
        const problem p(type, 3, 17, K);
        float untouched = 5;
        multiply(tg::matrix_view<const float>(nullptr, 0, K), p.w, tg::matrix_view<float>(&untouched, 0, p.N), how);
        const tg::any_packed_matrix no_rows = pack(type, nullptr, 0, K);
        multiply(tg::matrix_view<const float>(p.a.data(), 3, K), no_rows, tg::matrix_view<float>(&untouched, 3, 0), how);
        CHECK(untouched == 5.f);

        const auto constant = [](float v, tg::index_t m, tg::index_t n) { return v + static_cast<float>(100 * m + n + 1); };
        how.epilogue = epilogue_ref(constant);
        const std::vector<float> c = multiply({}, 3, pack(type, nullptr, 17, 0), how);
        bool right = true;
        for (std::size_t i = 0; i < c.size(); ++i) right = right && c[i] == static_cast<float>(100 * (i / 17) + i % 17 + 1);
        CHECK(right);
      }
  }
}

// A vocabulary's worth of columns: the last panel has 5 of 16. Only some columns are compared, each as a matrix of its own.
TEST_CASE("N = 151,669", "[large]") {
  constexpr tg::index_t N = 151669;
  for (const block_info& type : all_types()) {
    if (type.block_k == 256 && std::getenv("TEGULA_EMULATED") != nullptr) continue;  // 39 million weights: minutes on an emulator
    const tg::index_t K = type.block_k == 1 ? 3 : type.block_k;
    const problem p(type, 1, N, K);
    std::vector<tg::index_t> sample{0, 15, 16, N - 6, N - 5, N - 1};
    for (tg::index_t n = 1; n < N; n += 7919) sample.push_back(n);
    std::vector<float> expected;
    for (const tg::index_t n : sample)
      expected.push_back(multiply(p.a, 1, pack(type, p.blocks.data() + type.bytes(n, K), 1, K), on(tg::isa::scalar))[0]);
    for (const tg::isa isa : isas_here()) {
      const std::vector<float> c = multiply(p.a, 1, p.w, on(isa));
      std::vector<float> sampled;
      for (const tg::index_t n : sample) sampled.push_back(c[static_cast<std::size_t>(n)]);
      INFO(type.name << " " << tg::name_of(isa));
      CHECK(difference(sampled, expected, static_cast<tg::index_t>(sample.size())) == "");
    }
  }
}
