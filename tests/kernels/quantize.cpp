// quantize() on every ISA against plain code in the documented order, bit for bit: sizes astride tasks and vectors, the ends of the range
// of floats, ties, and that it stays inside every buffer.
#include <tegula/thread_pool.hpp>

#include "../support/catch.hpp"
#include "../support/guard.hpp"
#include "../support/runner.hpp"

#include <cmath>
#include <cstring>
#include <limits>

using namespace tests;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();

void append_block(const float* x, bytes& blocks) {
  float max = 0;
  bool finite = true;
  for (int k = 0; k < 256; ++k) {
    finite = finite && std::isfinite(x[k]);
    max = std::fmax(max, std::fabs(x[k]));
  }
  const bool zeros = !finite || max < 0x1p-72f;
  const float d = !finite ? not_a_number : zeros ? 0.f : max * (1.f / 127.f), inverse = zeros ? 0.f : 127.f / max;
  unsigned char scale[4];
  std::memcpy(scale, &d, 4);
  blocks.insert(blocks.end(), scale, scale + 4);
  for (int k = 0; k < 256; ++k) blocks.push_back(static_cast<unsigned char>(zeros ? 0 : static_cast<int>(std::nearbyint(x[k] * inverse))));
}

bytes expected_blocks(const std::vector<float>& weights) {
  bytes blocks;
  for (std::size_t i = 0; i < weights.size(); i += 256) append_block(weights.data() + i, blocks);
  return blocks;
}

void check(const std::vector<float>& weights) {
  const bytes expected = expected_blocks(weights);
  const auto count = static_cast<tg::index_t>(weights.size());
  for (const tg::isa isa : isas_here())
    for (const bool at_start : {false, true}) {
      const guarded_copy<float> source(weights, at_start);
      const guarded blocks(expected.size(), at_start);
      tg::quantize<tg::q8_256>(source.get(), blocks.data(), count, {.isa = isa});
      INFO(tg::name_of(isa) << ", " << count << " weights");
      CHECK(std::memcmp(blocks.data(), expected.data(), expected.size()) == 0);
    }
}

}  // namespace

TEST_CASE("quantize gives the documented blocks", "[quantize]") {
  for (const tg::index_t blocks : {1, 3, 16, 17, 67}) check(random_activations(blocks, 256, 31));
  std::vector<float> sizes;
  for (const float size : {0x1p-149f, 0x1p-73f, 0x1p-72f, 0x1p-71f, 0x1p60f, 0x1p127f, 0.f})
    for (const float x : random_activations(1, 256, 9)) sizes.push_back(x * size);
  check(sizes);
  std::vector<float> ties(256);  // of 127: k - 128 halves
  for (int k = 0; k < 255; ++k) ties[static_cast<std::size_t>(k)] = static_cast<float>(k - 127) / 2;
  ties[255] = 127;
  check(ties);
}

TEST_CASE("quantize: a NaN or an Inf makes its own block NaN", "[quantize]") {
  for (const float bad : {not_a_number, inf, -inf}) {
    std::vector<float> weights = random_activations(20, 256, 33);
    weights[5 * 256 + 255] = weights[19 * 256] = bad;
    check(weights);
    bytes blocks(20 * 260);
    std::vector<float> back(weights.size());
    tg::quantize<tg::q8_256>(weights.data(), blocks.data(), 20 * 256);
    tg::dequantize<tg::q8_256>(blocks.data(), back.data(), 20 * 256);
    bool in_place = true;
    for (std::size_t i = 0; i < back.size(); ++i) in_place = in_place && std::isnan(back[i]) == (i / 256 == 5 || i / 256 == 19);
    CHECK(in_place);
  }
}

TEST_CASE("quantize is off by half a step at most", "[quantize]") {
  const std::vector<float> weights = random_activations(9, 256, 34);
  bytes blocks(9 * 260);
  std::vector<float> back(weights.size());
  tg::quantize<tg::q8_256>(weights.data(), blocks.data(), 9 * 256);
  tg::dequantize<tg::q8_256>(blocks.data(), back.data(), 9 * 256);
  bool close = true;
  for (std::size_t i = 0; i < back.size(); ++i) {
    float d;
    std::memcpy(&d, &blocks[i / 256 * 260], 4);
    close = close && std::fabs(static_cast<double>(back[i]) - static_cast<double>(weights[i])) <= static_cast<double>(d) * (0.5 + 0x1p-14);
  }
  CHECK(close);
}

TEST_CASE("quantize by threads and by shares gives the same bits", "[quantize]") {
  constexpr tg::index_t count = 3 * (1 << 14) + 256;
  const std::vector<float> weights = random_activations(1, count, 35);
  const bytes expected = expected_blocks(weights);
  tg::thread_pool pool(3);
  bytes threaded(expected.size()), shared(expected.size());
  tg::quantize<tg::q8_256>(weights.data(), threaded.data(), count, pool);
  for (tg::index_t ith = 0; ith < 3; ++ith) tg::quantize<tg::q8_256>(weights.data(), shared.data(), count, tg::share(ith, 3));
  CHECK(threaded == expected);
  CHECK(shared == expected);
}

TEST_CASE("quantize checks its count", "[quantize][errors]") {
  const float weights[256] = {};
  unsigned char blocks[260];
  check_names(message_of<std::invalid_argument>([&] { tg::quantize<tg::q8_256>(weights, blocks, 100); }),
              {"quantize", "100", "q8_256", "256"});
  check_names(message_of<std::invalid_argument>([&] { tg::quantize<tg::q8_256>(nullptr, blocks, 256); }), {"256", "without data"});
  tg::quantize<tg::q8_256>(nullptr, nullptr, 0);
}
