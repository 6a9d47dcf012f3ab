// pack and unpack: to the byte, by row ranges in any order and from several threads, packed size, errors; any_packed_matrix, visit.
#include <tegula/pack/packed_matrix.hpp>
#include <tegula/thread_pool.hpp>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <thread>

#include "../support/catch.hpp"
#include "../support/runner.hpp"

using namespace tests;

namespace {

tg::index_t some_k(const block_info& type) { return type.block_k == 256 ? 768 : type.block_k == 32 ? 224 : 53; }

bool same_panels(const tg::any_packed_matrix& a, const tg::any_packed_matrix& b) {
  return a.visit([&]<class F>(const tg::packed_matrix<F>& x) {
    return b.visit([&]<class G>(const tg::packed_matrix<G>& y) {
      return std::is_same_v<F, G> && x.bytes() == y.bytes() && std::memcmp(x.panel(0), y.panel(0), x.bytes()) == 0;
    });
  });
}

}  // namespace

TEST_CASE("unpack gives the bytes back", "[pack]") {
  tg::thread_pool pool(3);
  for (const block_info& type : all_types())
    for (const tg::index_t N : {1, 15, 16, 17, 50})
      for (const tg::index_t K : {type.block_k, some_k(type), tg::index_t{0}}) {
        splitmix next(static_cast<std::uint64_t>(N + K));
        bytes blocks(type.bytes(N, K)), back(blocks.size(), 0xee);
        for (auto& byte : blocks) byte = static_cast<unsigned char>(next());  // every bit pattern, NaN scales too
        const tg::any_packed_matrix w = pack(type, blocks.data(), N, K);
        INFO(type.name << ", N = " << N << ", K = " << K);
        CHECK((w.rows() == N && w.cols() == K && w.type() == type.id));
        tg::unpack(w, back.data());
        CHECK(back == blocks);
        std::fill(back.begin(), back.end(), 0xee);
        tg::unpack(w, back.data(), pool);
        CHECK(back == blocks);
        CHECK(same_panels(tg::pack(type.id, blocks.data(), {.N = N, .K = K}, pool), w));
      }
}

TEST_CASE("rows may be packed in any order, and from several threads", "[pack]") {
  for (const block_info& type : all_types()) {
    const tg::index_t N = 53, K = some_k(type);
    const bytes blocks = random_blocks(type, N, K, 3);
    const auto row = [&](tg::index_t n) { return blocks.data() + type.bytes(n, K); };
    const tg::any_packed_matrix whole = pack(type, blocks.data(), N, K);

    std::vector<tg::index_t> order(static_cast<std::size_t>(N));
    std::iota(order.begin(), order.end(), 0);
    splitmix next(7);
    for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[next.below(static_cast<std::uint32_t>(i + 1))]);
    tg::any_packed_matrix by_row = tg::empty_packed_matrix(type.id, {.N = N, .K = K});
    for (const tg::index_t n : order) tg::pack_rows(by_row, row(n), {.first = n, .count = 1});
    INFO(type.name);
    CHECK(same_panels(by_row, whole));

    // Ranges that share a panel, from different threads at the same time.
    tg::any_packed_matrix threaded = tg::empty_packed_matrix(type.id, {.N = N, .K = K});
    std::vector<std::thread> threads;
    for (const auto& [first, last] : {std::pair<tg::index_t, tg::index_t>{0, 9}, {9, 30}, {30, 31}, {31, 53}})
      threads.emplace_back(
          [&, first = first, last = last] { tg::pack_rows(threaded, row(first), {.first = first, .count = last - first}); });
    for (std::thread& thread : threads) thread.join();
    CHECK(same_panels(threaded, whole));

    whole.visit([&](const auto& w) {
      bytes part(type.bytes(7, K));
      tg::unpack_rows(w, part.data(), {.first = 12, .count = 7});
      CHECK(std::memcmp(part.data(), row(12), part.size()) == 0);
    });
  }
}

TEST_CASE("the packed size is the source's and documented padding", "[pack]") {
  for (const block_info& type : all_types()) {
    const tg::index_t N = 64, K = type.block_k == 1 ? 512 : 2048;
    const std::size_t source = type.bytes(N, K), packed = tg::empty_packed_matrix(type.id, {.N = N, .K = K}).bytes();
    INFO(type.name << ": " << source << " bytes, packed " << packed);
    CHECK(packed >= source);
    CHECK(static_cast<double>(packed) <= 1.01 * static_cast<double>(source));  // Q6_K has most: 32 in 3,392
  }
}

TEST_CASE("pack errors name their numbers", "[pack][errors]") {
  const auto q4_k = tg::type_id{12}, q4_0 = tg::type_id{2};
  const unsigned char none[1] = {};
  check_names(message_of<std::invalid_argument>([&] { tg::pack(q4_k, none, {.N = 3, .K = 300}); }), {"q4_k", "300", "256"});
  check_names(message_of<std::invalid_argument>([&] { tg::pack(q4_0, none, {.N = 3, .K = 33}); }), {"q4_0", "33", "32"});
  check_names(message_of<std::invalid_argument>([&] { tg::pack(q4_0, none, {.N = -5, .K = 32}); }), {"N = -5", "K = 32"});
  check_names(message_of<std::invalid_argument>([&] { tg::pack(q4_0, none, {.N = 5, .K = -32}); }), {"K = -32"});
  check_names(message_of<std::invalid_argument>([&] { tg::pack(q4_0, none, {.N = (tg::index_t{1} << 30) + 1, .K = 32}); }),
              {"1073741825", "1073741824"});
  check_names(message_of<std::invalid_argument>([&] { tg::pack(q4_0, nullptr, {.N = 3, .K = 32}); }), {"no blocks", "3 rows"});
  check_names(message_of<std::invalid_argument>([&] { tg::pack(tg::type_id{99}, none, {.N = 1, .K = 32}); }), {"99", "not supported"});

  tg::packed_matrix<tg::q8_0> w({.N = 20, .K = 32});
  bytes room(34 * 32);
  const tg::row_range wrong[] = {{-1, 1}, {0, 21}, {20, 1}, {5, -1}, {19, 2}, {1, (tg::index_t{1} << 62)}};
  for (const tg::row_range& rows : wrong) {
    const std::string first = std::to_string(rows.first), count = std::to_string(rows.count);
    check_names(message_of<std::invalid_argument>([&] { tg::pack_rows(w, room.data(), rows); }), {first.c_str(), count.c_str(), "20 rows"});
    check_names(message_of<std::invalid_argument>([&] { tg::unpack_rows(w, room.data(), rows); }),
                {first.c_str(), count.c_str(), "20 rows"});
  }
  tg::pack_rows(w, room.data(), {20, 0});  // no rows, at the end: nothing to complain of
}

TEST_CASE("visit and supported know the list of types", "[types]") {
  for (const block_info& type : all_types()) {
    CHECK(tg::supported(type.id));
    CHECK(std::string(tg::visit(type.id, [](auto format) { return decltype(format)::name; })) == type.name);
  }
  const std::pair<int, const char*> by_number[] = {{0, "f32"},  {1, "f16"},   {30, "bf16"}, {2, "q4_0"},  {3, "q4_1"},
                                                   {8, "q8_0"}, {12, "q4_k"}, {13, "q5_k"}, {14, "q6_k"}, {0x10000, "q8_256"}};
  for (const auto& [number, name] : by_number) CHECK(std::string(info_of(tg::type_id{number}).name) == name);
  CHECK(!tg::supported(tg::type_id{9999}));
  CHECK(!tg::supported(tg::type_id{-1}));
  check_names(message_of<std::invalid_argument>([] { tg::visit(tg::type_id{9999}, [](auto) {}); }), {"9999"});
}

TEST_CASE("a matrix that was moved from is empty", "[pack]") {
  tg::packed_matrix<tg::q8_0> w({.N = 20, .K = 32});
  const tg::packed_matrix<tg::q8_0> taken = std::move(w);
  CHECK((taken.rows() == 20 && taken.bytes() == 2 * 576));
  CHECK((w.rows() == 0 && w.cols() == 0 && w.bytes() == 0));  // NOLINT: that it may be asked is what is tested
}

TEST_CASE("packed matrices copy and move", "[pack]") {
  const block_info type = info_of(tg::q6_k::id);
  const bytes blocks = random_blocks(type, 17, 256, 1);
  tg::any_packed_matrix w = pack(type, blocks.data(), 17, 256), copy = w, other = pack(info_of(tg::f16::id), blocks.data(), 2, 3);
  CHECK(same_panels(copy, w));
  other = std::move(copy);
  CHECK(same_panels(other, w));
  CHECK(other.type() == tg::q6_k::id);
}
