// quantized_activations: made once, used for several products; what it refuses.
#include <thread>

#include "../support/catch.hpp"
#include "../support/runner.hpp"

using namespace tests;

namespace {

constexpr tg::index_t M = 9, N = 18, K = 256;

struct problem {
  std::vector<float> a = random_activations(M, K, 1);
  tg::matrix_view<const float> view{a.data(), M, K};

  static tg::any_packed_matrix weights(const block_info& type, std::uint64_t seed = 2) {
    return pack(type, random_blocks(type, N, K, seed).data(), N, K);
  }
};

// In exact mode: quants as bf16 where a float scale serves 32, sums where there are minima.
bool tiles_read_more(const block_info& type) { return type.block_k == 32 || type.m_at >= 0; }

std::vector<float> product(const tg::quantized_activations& q, const tg::any_packed_matrix& w, const call& how = {}) {
  std::vector<float> c(static_cast<std::size_t>(M * N));
  multiply(q, w, tg::matrix_view<float>(c.data(), M, N), how);
  return c;
}

}  // namespace

TEST_CASE("activations serve weights of all types that they are made for", "[activations]") {
  const problem p;
  for (const block_info& first : all_types())
    for (const block_info& second : all_types()) {
      INFO("made for " << first.name << " and " << second.name);
      const tg::any_packed_matrix w = problem::weights(first), w2 = problem::weights(second, 3);
      const tg::quantized_activations bf16(p.view, {w, w2}, tg::serial_executor{}, {.compute = tg::compute::bf16});
      for (const tg::any_packed_matrix* used : {&w, &w2})
        CHECK(difference(product(bf16, *used), multiply(p.a, M, *used, {.options = {.compute = tg::compute::bf16}}), N) == "");
      if (first.quantized != second.quantized) {
        check_names(message_of<std::invalid_argument>([&] { tg::quantized_activations(p.view, {w, w2}); }),
                    {first.name, second.name, "exact"});
        continue;
      }
      const tg::quantized_activations exact(p.view, {w, w2});
      CHECK((exact.rows() == M && exact.cols() == K && exact.mode() == tg::compute::exact && bf16.mode() == tg::compute::bf16));
      for (const tg::any_packed_matrix* used : {&w, &w2}) CHECK(difference(product(exact, *used), multiply(p.a, M, *used), N) == "");
    }
}

TEST_CASE("activations made for other types serve a product or say how to make them", "[activations][errors]") {
  const problem p;
  int served = 0, refused = 0;
  for (const block_info& made_for : all_types())
    for (const block_info& type : all_types()) {
      INFO("made for " << made_for.name << ", used with " << type.name);
      const tg::quantized_activations exact(p.view, problem::weights(made_for));
      const tg::any_packed_matrix w = problem::weights(type, 3);
      std::vector<float> c;
      std::string message;
      try {
        c = product(exact, w);
      } catch (const std::invalid_argument& refusal) {
        message = refusal.what();
      }
      if (message.empty()) CHECK(difference(c, multiply(p.a, M, w), N) == "");
      else check_names(message, {type.name, "quantized_activations(a, w)"});
      if (type.quantized != made_for.quantized)
        check_names(message, {"exact", type.quantized ? "int8" : "f32", type.quantized ? "held as f32" : "held as int8"});
      else if (message.empty()) ++served;
      else ++refused;
      if (type.id == made_for.id) CHECK(message.empty());
    }
  CHECK(served > 0);
  CHECK(refused > 0);
  const tg::quantized_activations q(p.view, problem::weights(info_of(tg::q4_k::id)));
  check_names(message_of<std::invalid_argument>([&] { product(q, problem::weights(info_of(tg::q6_k::id))); }), {"q6_k", "{w, w2"});
}

TEST_CASE("activations for weights of different K are an error", "[activations][errors]") {
  const problem p;
  const block_info type = info_of(tg::q4_0::id);
  const tg::any_packed_matrix w = problem::weights(type), longer = pack(type, random_blocks(type, N, 2 * K, 1).data(), N, 2 * K);
  check_names(message_of<std::invalid_argument>([&] { tg::quantized_activations(p.view, {w, longer}); }), {"256", "512"});
}

TEST_CASE("activations made for exact mode serve requantized mode, and the other way round", "[activations]") {
  const problem p;
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    const tg::any_packed_matrix w = problem::weights(type);
    for (const tg::compute made : {tg::compute::exact, tg::compute::requantized}) {
      const tg::quantized_activations q(p.view, w, tg::serial_executor{}, {.compute = made});
      INFO(type.name << " made for " << tg::name_of(made));
      CHECK(difference(product(q, w), multiply(p.a, M, w, {.options = {.compute = made}}), N) == "");
      for (const tg::compute used : {tg::compute::exact, tg::compute::requantized}) {
        const call how{.options = {.compute = used}};
        CHECK(difference(product(q, w, how), multiply(p.a, M, w, how), N) == "");
        CHECK(tg::last_kernel().ends_with(tg::name_of(used)));
      }
    }
  }
}

TEST_CASE("float weights have no requantized mode", "[activations][errors]") {
  const problem p;
  const call how{.options = {.compute = tg::compute::requantized}};
  const tg::quantized_activations int8(p.view, problem::weights(info_of(tg::q4_0::id)));
  for (const block_info& type : all_types()) {
    if (type.quantized) continue;
    const tg::any_packed_matrix w = problem::weights(type);
    check_names(message_of<std::invalid_argument>([&] { multiply(p.a, M, w, how); }), {type.name, "requantized"});
    check_names(message_of<std::invalid_argument>([&] { tg::quantized_activations(M, w, tg::compute::requantized); }),
                {type.name, "requantized"});
    check_names(message_of<std::invalid_argument>([&] { product(int8, w, how); }), {type.name, "requantized"});
  }
}

TEST_CASE("activations made on one ISA serve another", "[activations]") {
  const problem p;
  for (const block_info& type : all_types())
    for (const tg::compute mode : modes_of(type)) {
      const tg::any_packed_matrix w = problem::weights(type);
      for (const tg::isa used : isas_here()) {
        const std::vector<float> expected = multiply(p.a, M, w, on(mode == tg::compute::bf16 ? used : tg::isa::scalar, mode));
        for (const tg::isa made : isas_here()) {
          INFO(type.name << " made on " << tg::name_of(made) << ", used on " << tg::name_of(used));
          CHECK(difference(product(prepare(p.view, w, on(made, mode)), w, on(used, mode)), expected, N) == "");
        }
      }
    }
}

TEST_CASE("activations made while AMX is capped run on AVX-512 where AMX needs more of them, and say so", "[activations]") {
  if (tg::best_isa() < tg::isa::amx) return;
  const problem p;
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    const tg::any_packed_matrix w = problem::weights(type);
    tg::set_max_isa(tg::isa::avx512);
    const tg::quantized_activations capped(p.view, w);
    tg::set_max_isa(tg::isa::amx);
    const std::vector<float> expected = multiply(p.a, M, w, on(tg::isa::amx));
    CHECK(tg::last_kernel() == type.name + std::string(" amx exact"));
    INFO(type.name);
    CHECK(difference(product(capped, w, on(tg::isa::amx)), expected, N) == "");
    CHECK(tg::last_kernel() == type.name + std::string(tiles_read_more(type) ? " avx512 exact" : " amx exact"));
  }
}

TEST_CASE("activations made for requantized mode run exact products on AVX-512 where AMX needs more of them", "[activations]") {
  if (tg::best_isa() < tg::isa::amx) return;
  const problem p;
  for (const block_info& type : all_types()) {
    if (!type.quantized) continue;
    INFO(type.name);
    const tg::any_packed_matrix w = problem::weights(type);
    const tg::quantized_activations q = prepare(p.view, w, on(tg::isa::amx, tg::compute::requantized));
    product(q, w, on(tg::isa::amx, tg::compute::requantized));
    CHECK(tg::last_kernel() == type.name + std::string(" amx requantized"));
    product(q, w, on(tg::isa::amx, tg::compute::exact));
    CHECK(tg::last_kernel() == type.name + std::string(tiles_read_more(type) ? " avx512 exact" : " amx exact"));
  }
}

TEST_CASE("activations are filled by shares, and again", "[activations]") {
  const tg::index_t rows = 50;
  const std::vector<float> a = random_activations(rows, K, 7), other = random_activations(rows, K, 8);
  for (const block_info& type : all_types()) {
    const tg::any_packed_matrix w = problem::weights(type);
    tg::quantized_activations q(rows, w);
    std::vector<float> c(static_cast<std::size_t>(rows * N));
    for (const std::vector<float>* values : {&other, &a}) {
      std::vector<std::thread> threads;
      for (tg::index_t ith = 0; ith < 3; ++ith)
        threads.emplace_back([&, ith] { q.assign(tg::matrix_view<const float>(values->data(), rows, K), tg::share(ith, 3)); });
      for (std::thread& thread : threads) thread.join();
      multiply(q, w, tg::matrix_view<float>(c.data(), rows, N));
      INFO(type.name);
      CHECK(difference(c, multiply(*values, rows, w), N) == "");
    }
  }
}

TEST_CASE("activations of another shape are an error", "[activations][errors]") {
  const problem p;
  const tg::any_packed_matrix w = problem::weights(info_of(tg::q4_0::id));
  tg::quantized_activations q(M + 1, w);
  check_names(message_of<std::invalid_argument>([&] { q.assign(p.view); }), {"9 x 256", "10 x 256"});
  check_names(message_of<std::invalid_argument>([&] { tg::quantized_activations(-1, w); }), {"-1 rows"});
  const tg::matrix_view<const float> narrow(p.a.data(), M, K - 32);
  check_names(message_of<std::invalid_argument>([&] { tg::quantized_activations(narrow, w); }), {"9 x 224", "9 x 256"});
}

TEST_CASE("a mode that the activations were not made for is an error", "[activations][errors]") {
  const problem p;
  const tg::any_packed_matrix w = problem::weights(info_of(tg::q6_k::id));
  const tg::quantized_activations exact(p.view, w), bf16(p.view, w, tg::serial_executor{}, {.compute = tg::compute::bf16});
  check_names(message_of<std::invalid_argument>([&] { product(exact, w, {.options = {.compute = tg::compute::bf16}}); }),
              {"bf16", "exact"});
  check_names(message_of<std::invalid_argument>([&] { product(bf16, w, {.options = {.compute = tg::compute::exact}}); }),
              {"bf16", "exact"});
  // auto_ is exact today, and says so.
  CHECK(difference(product(exact, w, {.options = {.compute = tg::compute::auto_}}), product(exact, w), N) == "");
  product(exact, w);
  CHECK(tg::last_kernel().substr(tg::last_kernel().size() - 5) == "exact");
}
