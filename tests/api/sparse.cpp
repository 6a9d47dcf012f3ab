// compress, decompress, save and load: to the byte; sizes and density; what a damaged or forged file does: a clear error, or a matrix
// that may be multiplied. Layout: pack/sparse_panel.hpp.
#include <tegula/gemm.hpp>
#include <tegula/pack/serialize.hpp>
#include <tegula/thread_pool.hpp>

#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "../support/catch.hpp"
#include "../support/guard.hpp"
#include "../support/runner.hpp"
#include "../support/serialized.hpp"
#include "../support/sparse_data.hpp"

using namespace tests;

namespace {

using any = tg::any_sparse_matrix;

tg::index_t some_k(const block_info& type) { return type.block_k == 256 ? 768 : type.block_k == 32 ? 224 : 53; }

any example(const block_info& type, tg::index_t N = 19, double percent = 50) {
  const tg::index_t K = type.block_k == 1 ? 70 : type.block_k == 32 ? 160 : type.block_k;
  return compress(type, random_sparse_blocks(type, N, K, 5, random_zeros(percent)), N, K);
}

// How many of so many weights random_zeros() leaves.
std::size_t kept(tg::index_t weights, double percent) {
  std::size_t count = 0;
  const zero_rule rule = random_zeros(percent);
  for (tg::index_t i = 0; i < weights; ++i) count += !rule(0, i);
  return count;
}

}  // namespace

TEST_CASE("decompress gives the bytes back", "[sparse]") {
  tg::thread_pool pool(3);
  for (const block_info& type : sparse_types())
    for (const tg::index_t N : {0, 1, 15, 16, 17, 50})
      for (const tg::index_t K : {tg::index_t{0}, type.block_k, 2 * type.block_k, some_k(type)})
        for (const double percent : {0., 50., 99., 100.}) {
          const bytes blocks = random_sparse_blocks(type, N, K, static_cast<std::uint64_t>(N + K), random_zeros(percent));
          const any w = compress(type, blocks, N, K);
          INFO(type.name << ", N = " << N << ", K = " << K << ", " << percent << " % zeros");
          CHECK((w.rows() == N && w.cols() == K && w.type() == type.id));
          CHECK(nonzeros(w) == kept(N * K, percent));
          CHECK(w.density() == (N * K == 0 ? 0. : static_cast<double>(nonzeros(w)) / static_cast<double>(N * K)));
          CHECK(decompressed(w) == blocks);
          CHECK((saved(tg::compress(type.id, blocks.data(), {.N = N, .K = K}, pool)) == saved(w)));
          bytes back(blocks.size(), 0xee);
          tg::decompress(w, back.data(), pool);
          CHECK(back == blocks);
        }
}

TEST_CASE("every bit pattern comes back, from any address", "[sparse]") {
  for (const block_info& type : sparse_types())
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const tg::index_t N = 21, K = some_k(type);
      splitmix next(seed);
      bytes blocks(type.bytes(N, K) + seed), back(blocks.size());
      for (auto& byte : blocks)
        byte = next.below(2) == 0 ? static_cast<unsigned char>(next.below(3) == 0 ? 0x80 : 0) : static_cast<unsigned char>(next());
      tg::decompress(tg::compress(type.id, blocks.data() + seed, {.N = N, .K = K}), back.data() + seed);
      INFO(type.name);
      CHECK(std::memcmp(back.data() + seed, blocks.data() + seed, type.bytes(N, K)) == 0);
    }
}

// +0 is dropped; -0, denormals, NaN and Inf are kept.
TEST_CASE("f32 weights are rounded to bf16", "[sparse]") {
  constexpr std::uint32_t values[] = {0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x3f800000, 0x3f808000, 0x3f818000,
                                      0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0x00010000, 0xc0490fdb};
  const auto K = static_cast<tg::index_t>(std::size(values));
  const tg::sparse_matrix<tg::bf16> w = tg::compress<tg::f32>(values, {.N = 1, .K = K});
  std::vector<tg::bf16> back(std::size(values));
  tg::decompress(w, back.data());
  std::size_t count = 0;
  for (std::size_t i = 0; i < back.size(); ++i) {
    float value;
    std::memcpy(&value, &values[i], sizeof value);
    INFO("weight " << i);
    CHECK(back[i].bits == tg::bf16(value).bits);
    count += back[i].bits != 0;
  }
  CHECK(w.nonzeros() == count);
  CHECK(count >= 10);
  CHECK(tg::compress(tg::f32::id, values, {.N = 1, .K = K}).type() == tg::bf16::id);
}

TEST_CASE("bytes of a weight where half of them are zero", "[sparse]") {
  const std::pair<const char*, double> most[] = {{"f16", 1.14},  {"bf16", 1.14}, {"q8_0", 0.70},
                                                 {"q4_0", 0.45}, {"q4_k", 0.45}, {"q8_256", 0.65}};
  for (const block_info& type : sparse_types()) {
    const tg::index_t N = 256, K = 2048;
    const any w = compress(type, random_sparse_blocks(type, N, K, 1, random_zeros(50)), N, K);
    // At exactly one half: chance makes it a little more or less.
    const double per_weight = static_cast<double>(w.bytes()) / static_cast<double>(N * K) +
                              (0.5 - w.density()) * static_cast<double>(type.block_bytes) / static_cast<double>(type.block_k);
    INFO(type.name << ": " << per_weight);
    const auto* bound = std::find_if(std::begin(most), std::end(most), [&](const auto& b) { return std::string(b.first) == type.name; });
    REQUIRE(bound != std::end(most));
    CHECK(per_weight <= bound->second);
    CHECK(static_cast<double>(compress(type, random_sparse_blocks(type, N, K, 1, random_zeros(0)), N, K).bytes()) <=
          1.02 * static_cast<double>(type.bytes(N, K)));
  }
}

TEST_CASE("compress errors name their numbers", "[sparse][errors]") {
  const unsigned char none[1] = {};
  const auto error = [&](int type, const void* blocks, tg::weight_shape shape) {
    return message_of<std::invalid_argument>([&] { tg::compress(tg::type_id{type}, blocks, shape); });
  };
  check_names(error(14, none, {.N = 3, .K = 256}), {"q6_k", "bf16", "q4_k"});
  check_names(error(99, none, {.N = 3, .K = 256}), {"99", "not supported"});
  check_names(error(12, none, {.N = 3, .K = 300}), {"q4_k", "300", "256"});
  check_names(error(2, none, {.N = -5, .K = 32}), {"N = -5", "K = 32"});
  check_names(error(8, none, {.N = (tg::index_t{1} << 30) + 1, .K = 32}), {"1073741825", "1073741824"});
  check_names(error(30, nullptr, {.N = 3, .K = 32}), {"no blocks", "3 rows", "32"});
  check_names(message_of<std::invalid_argument>(
                  [&] { tg::decompress(tg::compress(tg::type_id{8}, bytes(34).data(), {.N = 1, .K = 32}), nullptr); }),
              {"no blocks", "1 rows", "32"});
}

// Offsets of matrices that no test has the memory for.
TEST_CASE("the layout of huge matrices", "[sparse]") {
  using tg::detail::sparse_layout;
  constexpr tg::index_t K = tg::index_t{1} << 30;  // the most that a matrix may have
  static_assert(sparse_layout<tg::bf16>::tiles(K) == K / 32 && sparse_layout<tg::q8_0>::tiles(K) == K / 64);
  static_assert(sparse_layout<tg::bf16>::records_at(K) == 4 * (std::size_t{1} << 25) + 4);
  static_assert(tg::detail::first_sparse_panel(K) == (std::size_t{1} << 26) * 8);
  const tg::detail::sparse_unit<tg::bf16> last(K, K / 32 - 1, 0);
  CHECK(last.at == static_cast<std::size_t>(K - 32) * 32);  // > 2^32: 16 columns of 2 bytes
  CHECK(last.tile(0).stored_at == last.at);

  const auto make = [](tg::weight_shape shape, const std::vector<tg::detail::sparse_size>& sizes) {
    return tg::detail::make_sparse_buffer(shape, sizes);
  };
  const std::size_t most = tg::detail::max_sparse_panel;
  check_names(message_of<std::invalid_argument>([&] { make({.N = 16, .K = K}, {{most + 1, 0}}); }),
              {"N = 16", "K = 1073741824", std::to_string(most + 1).c_str(), std::to_string(most).c_str()});
}

// More than 2^31 weights: the heads of panels behind the first 4 GiB.
TEST_CASE("heads lead beyond 4 GiB", "[sparse]") {
  std::vector<std::byte> heads(3 * sizeof(tg::detail::sparse_panel_head));
  const std::uint64_t places[] = {64, 0x1'0000'0040, 0x7fff'ffff'ffc0};
  for (std::size_t p = 0; p < 3; ++p) {
    const std::uint64_t distance = places[p] - p * sizeof distance;
    std::memcpy(heads.data() + p * sizeof distance, &distance, sizeof distance);
  }
  for (tg::index_t p = 0; p < 3; ++p) CHECK(tg::detail::sparse_panel_place(heads.data(), p) == places[p]);
}

TEST_CASE("several threads compress the same weights", "[sparse][threads]") {
  for (const block_info& type : sparse_types()) {
    const tg::index_t N = 40, K = some_k(type);
    const bytes blocks = random_sparse_blocks(type, N, K, 2, random_zeros(50));
    const std::string expected = saved(compress(type, blocks, N, K));
    std::vector<std::string> results(4);
    std::vector<std::thread> threads;
    for (std::string& result : results)
      threads.emplace_back([&] {
        const any w = compress(type, blocks, N, K);
        if (decompressed(w) == blocks) result = saved(w);
      });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& result : results) CHECK((result == expected));
  }
}

TEST_CASE("sparse matrices copy and move", "[sparse]") {
  const block_info type = info_of(tg::q8_0::id);
  const any w = example(type);
  any copy = w, other = example(info_of(tg::f16::id));
  CHECK((saved(copy) == saved(w)));
  other = std::move(copy);
  CHECK((saved(other) == saved(w)));
  tg::sparse_matrix<tg::q8_0> from = tg::compress<tg::q8_0>(bytes(34 * 20).data(), {.N = 20, .K = 32});
  const tg::sparse_matrix<tg::q8_0> taken = std::move(from);
  CHECK((taken.rows() == 20 && taken.bytes() > 0 && taken.density() == 0));
  CHECK((from.rows() == 0 && from.cols() == 0 && from.bytes() == 0 && from.nonzeros() == 0));  // NOLINT: that it may be asked is tested
}

TEST_CASE("save and load give the same sparse matrix", "[sparse][serialize]") {
  for (const block_info& type : sparse_types())
    for (const tg::index_t N : {0, 1, 16, 19, 32})
      for (const tg::index_t K : {tg::index_t{0}, type.block_k, 2 * type.block_k, 5 * type.block_k, some_k(type)})
        for (const double percent : {0., 50., 100.}) {
          const any w = compress(type, random_sparse_blocks(type, N, K, 5, random_zeros(percent)), N, K);
          INFO(type.name << ", N = " << N << ", K = " << K << ", " << percent << " % zeros");
          const std::string file = saved(w);
          CHECK(file.size() == 64 + w.bytes());
          const any back = loaded<any>(file);
          CHECK((back.rows() == N && back.cols() == K && back.type() == type.id && nonzeros(back) == nonzeros(w)));
          CHECK((saved(back) == file));
          w.visit([&]<class F>(const tg::sparse_matrix<F>&) {
            std::istringstream in(file);
            CHECK((saved(tg::load<tg::sparse_matrix<F>>(in)) == file));
          });
        }
}

TEST_CASE("sparse is not packed", "[sparse][serialize][errors]") {
  const block_info type = info_of(tg::q4_0::id);
  std::istringstream sparse(saved(example(type)));
  check_names(message_of<std::runtime_error>([&] { tg::load<tg::any_packed_matrix>(sparse); }), {"sparse", "packed"});
  std::stringstream packed;
  tg::save(pack(type, bytes(18).data(), 1, 32), packed);
  check_names(message_of<std::runtime_error>([&] { tg::load<any>(packed); }), {"packed", "sparse"});
  std::istringstream other(saved(example(type)));
  check_names(message_of<std::runtime_error>([&] { tg::load<tg::sparse_matrix<tg::q8_0>>(other); }), {"type 2", "q8_0", "8"});
}

TEST_CASE("a truncated sparse file", "[sparse][serialize][errors]") {
  const std::string file = saved(example(info_of(tg::q4_0::id)));
  for (std::size_t size = 0; size < file.size(); size += size < 80 ? 1 : 97)
    check_names(message_of<std::runtime_error>([&] { loaded<any>(file.substr(0, size)); }), {"truncated"});
}

namespace {

// A saved matrix whose bytes may be changed, its checksums made right again: what only an unkind writer produces.
class forgery {
 public:
  explicit forgery(const any& w) : file_(saved(w)) {}

  [[nodiscard]] std::size_t size() const { return file_.size() - header_bytes; }
  template <class T>
  [[nodiscard]] T get(std::size_t at) const {
    T value;
    std::memcpy(&value, file_.data() + header_bytes + at, sizeof value);
    return value;
  }
  template <class T>
  forgery& set(std::size_t at, T value) {
    std::memcpy(file_.data() + header_bytes + at, &value, sizeof value);
    return *this;
  }
  forgery& resize(std::size_t size) {
    file_.resize(header_bytes + size);
    return *this;
  }
  template <class Change>
  [[nodiscard]] std::string file(Change change) const {
    tg::detail::file_header header;
    std::memcpy(static_cast<void*>(&header), file_.data(), sizeof header);
    change(header);
    header.payload_bytes = size();
    header.payload_checksum = tg::detail::checksum(reinterpret_cast<const std::byte*>(file_.data()) + header_bytes, size());
    header.header_checksum = header.own_checksum();
    std::string forged = file_;
    std::memcpy(forged.data(), &header, sizeof header);
    return forged;
  }
  [[nodiscard]] std::string file() const {
    return file([](const auto&) {});
  }
  [[nodiscard]] std::string error() const {
    return message_of<std::runtime_error>([&] { loaded<any>(file()); });
  }

 private:
  static constexpr std::size_t header_bytes = 64;
  std::string file_;
};

// Loads; true if it cannot be, with a message that says so. What can be loaded is multiplied on every ISA, its memory guarded.
bool refused(const forgery& forged) {
  const guard_allocations own_buffers_too;
  try {
    const any w = loaded<any>(forged.file());
    decompressed(w);
    for (const tg::isa isa : isas_here()) multiply(std::vector<float>(static_cast<std::size_t>(w.cols()), 1.f), 1, w, on(isa));
  } catch (const std::runtime_error& e) {
    check_names(e.what(), {"corrupt", "panel"});
    return true;
  }
  return false;
}

// Where panel p stands.
std::size_t panel_at(const forgery& f, std::size_t p) { return p * 8 + f.get<std::uint64_t>(p * 8); }

}  // namespace

// Bytes of values may be anything; nothing else gets further than load().
TEST_CASE("each word of a sparse matrix damaged", "[sparse][serialize][errors]") {
  const std::size_t step = std::getenv("TEGULA_EMULATED") != nullptr ? 44 : 4;  // all take minutes on an emulator
  for (const block_info& type : sparse_types()) {
    const tg::index_t N = 17, K = type.block_k == 1 ? 68 : type.block_k == 32 ? 96 : type.block_k;
    const forgery right(compress(type, random_sparse_blocks(type, N, K, 5, random_zeros(80)), N, K));
    std::size_t stopped = 0;
    for (std::size_t at = 0; at + 4 <= right.size(); at += step)
      for (const std::uint32_t flip : {4u, 0x80000001u}) stopped += refused(forgery(right).set(at, right.get<std::uint32_t>(at) ^ flip));
    INFO(type.name);
    CHECK(stopped > 0);
  }
}

TEST_CASE("each head and each tile's offset damaged", "[sparse][serialize][errors]") {
  for (const block_info& type : sparse_types()) {
    const any w = example(type, 35);
    const forgery right(w);
    const auto words =
        w.visit([]<class F>(const tg::sparse_matrix<F>& typed) { return tg::detail::sparse_layout<F>::records_at(typed.cols()); });
    INFO(type.name);
    for (std::size_t p = 0; p < 3; ++p) {
      for (const std::int64_t off : {-64, -1, 1, 64, 1 << 20, -(1 << 20)})
        CHECK(refused(forgery(right).set(p * 8, right.get<std::int64_t>(p * 8) + off)));
      CHECK(refused(forgery(right).set(p * 8, std::uint64_t{0})));
      CHECK(refused(forgery(right).set(p * 8, ~std::uint64_t{0})));
      for (std::size_t i = 0; i < words; i += 4) {
        const std::size_t at = panel_at(right, p) + i;
        const auto word = right.get<std::uint32_t>(at);
        INFO("panel " << p << ", tile word " << i / 4);
        for (const std::uint32_t changed : {word + 4, word - 4, word ^ 0x80000000u, std::uint32_t{0}, ~std::uint32_t{3}})
          CHECK(refused(forgery(right).set(at, changed)));
      }
    }
  }
}

TEST_CASE("what a forged sparse matrix is told", "[sparse][serialize][errors]") {
  // 16 columns of 64 weights: two tiles, the first with 256 weights that are not zero.
  const block_info type = info_of(tg::bf16::id);
  const auto half = [](tg::index_t, tg::index_t k) { return k % 2 == 0; };
  const forgery right(compress(type, random_sparse_blocks(type, 16, 64, 1, half), 16, 64));
  const std::size_t panel = panel_at(right, 0), first = panel + 12;
  REQUIRE(right.get<std::uint32_t>(panel) == 12);
  const auto record = static_cast<std::uint32_t>(16 * 4 + 256 * 2);
  REQUIRE(right.get<std::uint32_t>(panel + 4) == 12 + record);

  check_names(forgery(right).set(0, std::uint64_t{128}).error(),
              {"corrupt", "bf16", "N = 16", "K = 64", "panel 0", "not where it must be"});
  check_names(forgery(right).set(panel, 16u).error(), {"panel 0", "offset"});
  check_names(forgery(right).set(panel, 12u | 3u).error(), {"panel 0", "kind"});
  check_names(forgery(right).set(panel + 4, 12u + 4u).error(), {"panel 0", "masks", "do not fit"});
  check_names(forgery(right).set(first, right.get<std::uint32_t>(first) ^ 7u).error(), {"panel 0", "values"});
  check_names(forgery(right).set(panel, 12u | 1u).error(), {"panel 0", "values"});
  check_names(forgery(right).resize(right.size() + 64).error(), {"panel 0", "end elsewhere"});
  check_names(forgery(right).resize(right.size() - 64).error(), {"panel 0"});
  check_names(forgery(right).resize(64).error(), {"heads do not fit"});
  check_names(forgery(right).resize(0).error(), {"heads do not fit"});

  const auto claimed = [&](tg::index_t N, tg::index_t K) {
    return message_of<std::runtime_error>([&] { loaded<any>(right.file([&](auto& h) { h.N = N, h.K = K; })); });
  };
  check_names(claimed(15, 64), {"N = 15", "outside the matrix"});
  check_names(claimed(16, 63), {"K = 63", "outside the matrix"});
  check_names(claimed(17, 64), {"N = 17", "corrupt"});
  check_names(claimed(16, 96), {"K = 96", "corrupt"});
  check_names(claimed(0, 64), {"N = 0", "no rows"});
  check_names(claimed(16, tg::index_t{1} << 30), {"K = 1073741824", "tile words do not fit"});
  check_names(claimed(tg::index_t{1} << 30, 64), {"N = 1073741824", "heads do not fit"});
  check_names(claimed(16, -1), {"K = -1"});
  check_names(message_of<std::runtime_error>([&] { loaded<any>(right.file([](auto& h) { h.type = tg::q6_k::id.value; })); }),
              {"14", "not supported"});
  check_names(message_of<std::runtime_error>([&] { loaded<any>(right.file([](auto& h) { h.storage = 7; })); }), {"unknown", "sparse"});
}

// A tile that is full has no masks that could say where the matrix ends.
TEST_CASE("a full tile may not stand where the matrix ends", "[sparse][serialize][errors]") {
  const block_info type = info_of(tg::bf16::id);
  const forgery right(compress(type, random_sparse_blocks(type, 16, 32, 1, random_zeros(0)), 16, 32));
  CHECK((right.get<std::uint32_t>(panel_at(right, 0)) & 3u) == 2);
  const auto claimed = [&](tg::index_t N, tg::index_t K) {
    return message_of<std::runtime_error>([&] { loaded<any>(right.file([&](auto& h) { h.N = N, h.K = K; })); });
  };
  check_names(claimed(15, 32), {"N = 15", "full"});
  check_names(claimed(16, 31), {"K = 31", "full"});
}
