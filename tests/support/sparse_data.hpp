// Weights with zeros in places of one's choice, for each format that sparse matrices hold.
#pragma once

#include <tegula/pack/sparse_matrix.hpp>

#include <functional>

#include "data.hpp"

namespace tests {

const std::vector<block_info>& sparse_types();

// Which weights are zero: rule(n, k), called once for each, row by row.
using zero_rule = std::function<bool(tg::index_t n, tg::index_t k)>;

// N x K random weights whose quant is zero where the rule says so, and nowhere else.
bytes random_sparse_blocks(const block_info& type, tg::index_t N, tg::index_t K, std::uint64_t seed, const zero_rule& is_zero);

// Zeros at random, `percent` of the weights.
zero_rule random_zeros(double percent, std::uint64_t seed = 1);

// The K of a tile, which has 16 columns.
inline tg::index_t tile_k(const block_info& type) { return type.quantized ? 64 : 32; }

tg::any_sparse_matrix compress(const block_info& type, const bytes& blocks, tg::index_t N, tg::index_t K);
bytes decompressed(const tg::any_sparse_matrix& w);
std::size_t nonzeros(const tg::any_sparse_matrix& w);

}  // namespace tests
