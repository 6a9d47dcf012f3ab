// Input for the tests, the same on every machine and with every compiler: a generator of its own, no library distribution.
#pragma once

#include <tegula/formats/all.hpp>

#include <cstdint>
#include <vector>

namespace tests {

namespace tg = tegula;

class splitmix {
 public:
  explicit splitmix(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {  // the generator of that name
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(((*this)() >> 32) * limit >> 32); }
  // In [-1, 1), a multiple of 2^-23.
  float symmetric() { return static_cast<float>(static_cast<int>((*this)() >> 40) - (1 << 23)) * 0x1p-23f; }

 private:
  std::uint64_t state_;
};

// What the tests need to know of a format to make blocks of it. From the library's list, so that a new format is tested at once.
struct block_info {
  tg::type_id id{0};
  const char* name = "";
  tg::index_t block_k = 1, block_bytes = 0;
  bool quantized = false;
  int d_at = -1, m_at = -1;  // bytes of a block where scales stand, f16
  bool wide_d = false;       // d is an f32

  [[nodiscard]] std::size_t bytes(tg::index_t N, tg::index_t K) const { return static_cast<std::size_t>(N * (K / block_k) * block_bytes); }
};

block_info info_of(tg::type_id type);
const std::vector<block_info>& all_types();

using bytes = std::vector<unsigned char>;

// N x K weights with random quants, sub-scales and signs; the f16 scales are finite and of moderate size.
bytes random_blocks(const block_info& type, tg::index_t N, tg::index_t K, std::uint64_t seed);
// M x K values in [-1, 1), with rows of very different size.
std::vector<float> random_activations(tg::index_t M, tg::index_t K, std::uint64_t seed);

// Sets an f16 of block number `block`; where the block has an f32, to the same value.
void set_half(bytes& blocks, const block_info& type, tg::index_t block, int at, std::uint16_t bits);

}  // namespace tests
