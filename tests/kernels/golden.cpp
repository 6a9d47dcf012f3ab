// dequantize() on every ISA, and the reference's own decoders, against the values that the gguf package computes for the same
// blocks (tests/make_golden.py): bit for bit, but for a NaN's payload.
#include <tegula/thread_pool.hpp>

#include "../support/catch.hpp"
#include "../support/embedded.hpp"
#include "../support/reference.hpp"
#include "../support/runner.hpp"

#include <cmath>
#include <cstring>

using namespace tests;

namespace {

struct golden {
  bytes blocks;
  std::vector<float> values;
};

golden read_golden(const char* name) {
  const auto file = embedded(name);
  if (file.empty()) return {};
  std::uint32_t sizes[2];
  REQUIRE(file.size() >= sizeof sizes);
  std::memcpy(sizes, file.data(), sizeof sizes);
  REQUIRE(file.size() == sizeof sizes + sizes[1] + std::size_t{4} * sizes[0]);
  golden g{bytes(sizes[1]), std::vector<float>(sizes[0])};
  std::memcpy(g.blocks.data(), file.data() + sizeof sizes, g.blocks.size());
  std::memcpy(g.values.data(), file.data() + sizeof sizes + g.blocks.size(), std::size_t{4} * sizes[0]);
  return g;
}

std::string compare(const std::vector<float>& values, const std::vector<float>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(values[i]) && std::isnan(expected[i])) continue;
    if (std::memcmp(&values[i], &expected[i], 4) != 0) {
      return "weight " + std::to_string(i) + " is " + std::to_string(values[i]) + ", expected " + std::to_string(expected[i]);
    }
  }
  return {};
}

}  // namespace

TEST_CASE("dequantize agrees with the gguf package", "[golden]") {
  for (const block_info& type : all_types()) {
    INFO(type.name);
    const golden g = read_golden(type.name);
    if (g.values.empty()) {
      WARN(type.name << " has no golden vectors: add it to tests/make_golden.py");
      continue;
    }
    const auto count = static_cast<tg::index_t>(g.values.size());
    for (const tg::isa isa : isas_here()) {
      std::vector<float> values(g.values.size(), -1.f);
      tg::dequantize(type.id, g.blocks.data(), values.data(), count, {.isa = isa});
      INFO(tg::name_of(isa));
      CHECK(compare(values, g.values) == "");
    }
    const reference::weights decoded(type, g.blocks.data(), 1, count);
    INFO("the reference's decoder");
    CHECK(compare({decoded.row(0), decoded.row(0) + count}, g.values) == "");
  }
}

// More weights than a task takes, and for the types without blocks a number that fills no vector.
TEST_CASE("dequantize by threads and by shares gives the same bits", "[golden]") {
  tg::thread_pool pool(3);
  for (const block_info& type : all_types()) {
    const tg::index_t count = 3 * (1 << 14) + (type.block_k == 1 ? 5 : 256);
    const bytes blocks = random_blocks(type, 1, count, 9);
    std::vector<float> serial(static_cast<std::size_t>(count)), threaded(serial.size()), shared(serial.size());
    tg::dequantize(type.id, blocks.data(), serial.data(), count);
    tg::dequantize(type.id, blocks.data(), threaded.data(), count, pool);
    for (tg::index_t ith = 0; ith < 3; ++ith) tg::dequantize(type.id, blocks.data(), shared.data(), count, tg::share(ith, 3));
    INFO(type.name);
    CHECK(std::memcmp(serial.data(), threaded.data(), serial.size() * sizeof(float)) == 0);
    CHECK(std::memcmp(serial.data(), shared.data(), serial.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("packing keeps the golden blocks to the byte", "[golden]") {
  for (const block_info& type : all_types()) {
    const golden g = read_golden(type.name);
    const auto count = static_cast<tg::index_t>(g.values.size());
    bytes back(g.blocks.size());
    tg::unpack(pack(type, g.blocks.data(), 1, count), back.data());
    INFO(type.name);
    CHECK(back == g.blocks);
  }
}

// All 65,536 halves both ways, and floats around every half's neighbours.
TEST_CASE("16-bit floats convert as IEEE 754 says", "[golden]") {
  int wrong = 0;
  const auto same = [](float a, float b) { return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, 4) == 0; };
  const auto check_narrowing = [&](float x) {
    wrong += tg::f16(x).bits != reference::narrow_half(x) && !std::isnan(x);
    wrong += tg::bf16(x).bits != reference::narrow_bfloat(x);
  };
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    tg::f16 half;
    tg::bf16 bfloat;
    half.bits = bfloat.bits = bits;
    const float x = static_cast<float>(half);
    wrong += !same(x, reference::widen_half(bits)) + !same(static_cast<float>(bfloat), reference::widen_bfloat(bits));
    if (std::isnan(x)) {
      wrong += !std::isnan(static_cast<float>(tg::f16(x)));
      continue;
    }
    const float next = reference::widen_half(static_cast<std::uint16_t>(bits + 1));
    check_narrowing(x);
    if (std::isnan(next)) continue;
    const float middle = std::isinf(next) || std::isinf(x) ? std::copysign(65520.f, x)
                                                           : static_cast<float>((static_cast<double>(x) + static_cast<double>(next)) / 2);
    for (const float y : {middle, std::nextafter(middle, 0.f), std::nextafter(middle, std::copysign(1e30f, middle))}) check_narrowing(y);
    check_narrowing(static_cast<float>(bfloat) * 1.00390625f);
  }
  splitmix next(1);
  for (int i = 0; i < 20000; ++i) check_narrowing(std::bit_cast<float>(static_cast<std::uint32_t>(next())));
  CHECK(wrong == 0);
}
