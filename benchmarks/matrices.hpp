// Data to multiply: random blocks of a format as they would lie in a GGUF file, and random activations.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include <tegula/tegula.hpp>

namespace bench {

namespace tg = tegula;

using byte_vector = std::vector<unsigned char>;

// Every weight format of the library by its type number, in the library's order.
template <class Function>
void for_each_format(Function function) {
  [&]<class... Formats>(tg::format_list<Formats...>) { (function(Formats{}), ...); }(tg::all_formats{});
}

// Random bits with scales that are small normal numbers: every bit pattern of the quants is a weight.
template <tg::quantized_format F>
byte_vector random_blocks(tg::index_t rows, tg::index_t K) {
  byte_vector bytes(static_cast<std::size_t>(rows) * tg::source_row_bytes<F>(K));
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(random() >> 56);
  const auto put_scale = [&]<class Scale>(std::size_t at, Scale) {
    const Scale scale(std::uniform_real_distribution<float>(0.001f, 0.01f)(random));
    std::memcpy(&bytes[at], &scale, sizeof scale);
  };
  for (std::size_t block = 0; block < bytes.size(); block += static_cast<std::size_t>(F::block_bytes)) {
    if constexpr (tg::byte_format<F>) {
      put_scale(block + F::d_at, float{});
    } else {
      put_scale(block + F::d_at, tg::f16{});
      if constexpr (F::m_at >= 0) put_scale(block + F::m_at, tg::f16{});
    }
  }
  return bytes;
}

template <tg::float_format F>
byte_vector random_blocks(tg::index_t rows, tg::index_t K) {
  using element = typename F::element;
  byte_vector bytes(static_cast<std::size_t>(rows * K) * sizeof(element));
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(element)) {
    const element value(normal(random));
    std::memcpy(&bytes[i], &value, sizeof value);
  }
  return bytes;
}

// Rows of random numbers, repeated: making the numbers takes longer than the products. Prime, so that no blocking meets equal rows.
inline constexpr tg::index_t distinct_rows = 61;

template <class T>
std::vector<T> repeated(const std::vector<T>& values, std::size_t size) {
  std::vector<T> all(size);
  for (std::size_t i = 0; i < size; i += values.size())
    std::memcpy(&all[i], values.data(), sizeof(T) * (values.size() < size - i ? values.size() : size - i));
  return all;
}

// W[N, K].
template <tg::block_format F>
byte_vector random_weights(tg::index_t N, tg::index_t K) {
  return repeated(random_blocks<F>(distinct_rows, K), static_cast<std::size_t>(N) * tg::source_row_bytes<F>(K));
}

// Calls function(F{}) for the format of a type that sparse matrices hold.
template <class Function>
void visit_sparse(tg::type_id type, Function function) {
  [&]<class... Formats>(tg::format_list<Formats...>) { ((Formats::id == type ? function(Formats{}) : void()), ...); }(tg::sparse_formats{});
}

inline bool holds_sparse(tg::type_id type) {
  bool held = false;
  visit_sparse(type, [&](auto) { held = true; });
  return held;
}

template <tg::sparse_format F>
inline constexpr std::size_t bits_of_quants = 8;
template <tg::sparse_format F>
  requires tg::quant_format<F>
inline constexpr std::size_t bits_of_quants<F> = static_cast<std::size_t>(F::planes[0].bits);

// Makes `percent` % of the quants or floats at random what sparse matrices drop, and no others.
template <tg::sparse_format F>
void prune(byte_vector& blocks, int percent) {
  std::mt19937_64 random(3);
  const auto pruned = [&](unsigned value, unsigned zero) {
    if (random() % 100 < static_cast<unsigned>(percent)) return zero;
    return value == zero ? zero + 1 : value;
  };
  if constexpr (tg::float_format<F>) {
    for (std::size_t i = 0; i < blocks.size(); i += 2) {
      std::uint16_t bits;
      std::memcpy(&bits, &blocks[i], sizeof bits);
      bits = static_cast<std::uint16_t>(pruned(bits, 0));
      std::memcpy(&blocks[i], &bits, sizeof bits);
    }
  } else {
    constexpr std::size_t block = F::block_bytes, bits = bits_of_quants<F>, quants = F::block_k * bits / 8;
    for (std::size_t end = block; end <= blocks.size(); end += block)  // quants stand last
      for (std::size_t i = end - quants; i < end; ++i) {
        const unsigned byte = blocks[i];
        blocks[i] = static_cast<unsigned char>(bits == 8 ? pruned(byte, 0) : pruned(byte & 15, 8) | pruned(byte >> 4, 8) << 4);
      }
  }
}

// W[N, K], `percent` % of it zeros.
template <tg::sparse_format F>
byte_vector random_sparse_weights(tg::index_t N, tg::index_t K, int percent) {
  byte_vector blocks = random_blocks<F>(distinct_rows, K);
  prune<F>(blocks, percent);
  return repeated(blocks, static_cast<std::size_t>(N) * tg::source_row_bytes<F>(K));
}

// A[M, K].
inline std::vector<float> random_activations(tg::index_t M, tg::index_t K) {
  std::vector<float> values(static_cast<std::size_t>(distinct_rows * K));
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal;
  for (float& value : values) value = normal(random);
  return repeated(values, static_cast<std::size_t>(M * K));
}

// How many equal matrices to multiply by in turn, so that none is found in a cache.
inline std::size_t copies_for(std::size_t bytes, bool hot) {
  constexpr std::size_t beyond_caches = std::size_t{256} << 20;
  return hot || bytes == 0 ? 1 : (beyond_caches + bytes - 1) / bytes;
}

template <class W>
std::vector<W> copies_of(W matrix, bool hot) {
  const std::size_t copies = copies_for(matrix.bytes(), hot);
  std::vector<W> all{std::move(matrix)};
  all.reserve(copies);
  while (all.size() < copies) all.push_back(all[0]);
  return all;
}

}  // namespace bench
