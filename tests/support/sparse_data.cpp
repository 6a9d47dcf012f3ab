#include "sparse_data.hpp"

#include <cstring>
#include <stdexcept>
#include <string>

namespace tests {

namespace {

// Where a weight has its quant (of floats: its bits), and the quant that sparse matrices drop.
struct quant_place {
  tg::index_t byte;
  int shift, bits;
  unsigned zero;
};

quant_place place_of(const block_info& type, tg::index_t weight) {
  const tg::index_t block = weight / type.block_k * type.block_bytes, k = weight % type.block_k;
  if (!type.quantized && type.block_bytes == 2) return {block, 0, 16, 0};
  switch (type.id.value) {
    case 2: return {block + 2 + k % 16, static_cast<int>(k / 16 * 4), 4, 8};                      // Q4_0
    case 8: return {block + 2 + k, 0, 8, 0};                                                      // Q8_0
    case 12: return {block + 16 + k / 64 * 32 + k % 32, static_cast<int>(k / 32 % 2 * 4), 4, 8};  // Q4_K
    case 0x10000: return {block + 4 + k, 0, 8, 0};                                                // Q8_256
    default: throw std::logic_error(std::string("where do blocks of ") + type.name + " have their quants?");
  }
}

void make_zero(bytes& blocks, const quant_place& at, bool zero) {
  std::uint16_t word = 0;
  const std::size_t size = at.bits == 16 ? 2 : 1;
  std::memcpy(&word, blocks.data() + at.byte, size);
  const unsigned mask = (1u << at.bits) - 1, quant = unsigned{word} >> at.shift & mask;
  if (zero == (quant == at.zero)) return;
  const unsigned changed = zero ? at.zero : at.zero + 1;
  word = static_cast<std::uint16_t>((unsigned{word} & ~(mask << at.shift)) | changed << at.shift);
  std::memcpy(blocks.data() + at.byte, &word, size);
}

}  // namespace

const std::vector<block_info>& sparse_types() {
  static const std::vector<block_info> types = []<class... F>(tg::format_list<F...>) {
    return std::vector<block_info>{info_of(F::id)...};
  }(tg::sparse_formats{});
  return types;
}

bytes random_sparse_blocks(const block_info& type, tg::index_t N, tg::index_t K, std::uint64_t seed, const zero_rule& is_zero) {
  bytes blocks = random_blocks(type, N, K, seed);
  for (tg::index_t n = 0; n < N; ++n)
    for (tg::index_t k = 0; k < K; ++k) make_zero(blocks, place_of(type, n * K + k), is_zero(n, k));
  return blocks;
}

zero_rule random_zeros(double percent, std::uint64_t seed) {
  const auto limit = static_cast<std::uint32_t>(percent * 1e4);
  return [limit, next = splitmix(seed)](tg::index_t, tg::index_t) mutable { return next.below(1'000'000) < limit; };
}

tg::any_sparse_matrix compress(const block_info& type, const bytes& blocks, tg::index_t N, tg::index_t K) {
  return tg::compress(type.id, blocks.data(), {.N = N, .K = K});
}

bytes decompressed(const tg::any_sparse_matrix& w) {
  bytes blocks(info_of(w.type()).bytes(w.rows(), w.cols()));
  tg::decompress(w, blocks.data());
  return blocks;
}

std::size_t nonzeros(const tg::any_sparse_matrix& w) {
  return w.visit([](const auto& typed) { return typed.nonzeros(); });
}

}  // namespace tests
