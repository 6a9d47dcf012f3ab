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

// Makes weights zero as sparse matrices drop them, each with probability `sparsity`.
template <tg::sparse_format F>
void prune(byte_vector& blocks, double sparsity) {
  std::mt19937_64 random(3);
  std::bernoulli_distribution dropped(sparsity);
  if constexpr (tg::float_format<F>) {
    for (std::size_t i = 0; i < blocks.size(); i += sizeof(typename F::element))
      if (dropped(random)) std::memset(&blocks[i], 0, sizeof(typename F::element));
  } else {
    for (std::size_t block = 0; block < blocks.size(); block += static_cast<std::size_t>(F::block_bytes))
      for (int k = 0; k < F::block_k; ++k) {
        if (!dropped(random)) continue;
        if constexpr (tg::byte_format<F>) {
          blocks[block + static_cast<std::size_t>(F::quants_at + k)] = 0;
        } else {
          constexpr tg::bit_plane plane = F::planes[0];
          const tg::bit_position at = plane.position(k);
          unsigned char& byte = blocks[block + static_cast<std::size_t>(at.byte)];
          const int field = ((1 << plane.bits) - 1) << at.shift, zero = tg::detail::sparse_rows<F>::zero ^ plane.flip;
          byte = static_cast<unsigned char>((byte & ~field) | (zero << at.shift & field));
        }
      }
  }
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

}  // namespace bench
