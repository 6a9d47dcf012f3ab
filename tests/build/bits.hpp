// Weights, activations and products whose bits depend on nothing but the library: what the programs in this folder and in
// ../tiles compare across compilers, flags, machines and threads. The data is made with integers, so that -ffast-math, FTZ and
// DAZ in these programs cannot change it.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include <tegula/tegula.hpp>

namespace bits {

namespace tg = tegula;

class generator {  // splitmix64
 public:
  explicit generator(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>((*this)() >> 32) % limit; }

 private:
  std::uint64_t state_;
};

// Bit patterns of normal numbers of moderate size, some of them negative.
inline std::uint16_t half(generator& g) { return static_cast<std::uint16_t>(g.below(2) << 15 | (6 + g.below(6)) << 10 | g.below(1024)); }
inline std::uint32_t single(generator& g) { return g.below(2) << 31 | (121 + g.below(7)) << 23 | g.below(1u << 23); }

template <class Integer>
void put(unsigned char* at, Integer value) {
  std::memcpy(at, &value, sizeof value);
}

// N rows of K weights as they would lie in a GGUF file. One block scale in 16 is denormal.
template <tg::block_format F>
std::vector<unsigned char> weights(tg::index_t N, tg::index_t K, std::uint64_t seed) {
  generator g(seed);
  std::vector<unsigned char> data(tg::source_row_bytes<F>(K) * static_cast<std::size_t>(N));
  if constexpr (tg::byte_format<F>) {
    for (unsigned char& byte : data) byte = static_cast<unsigned char>(g.below(256));
    for (std::size_t at = 0; at < data.size(); at += static_cast<std::size_t>(F::block_bytes))
      put(&data[at + static_cast<std::size_t>(F::d_at)], single(g));
  } else if constexpr (tg::quant_format<F>) {
    for (unsigned char& byte : data) byte = static_cast<unsigned char>(g.below(256));
    for (std::size_t at = 0; at < data.size(); at += static_cast<std::size_t>(F::block_bytes)) {
      const std::uint16_t scale = half(g);
      put(&data[at + static_cast<std::size_t>(F::d_at)], static_cast<std::uint16_t>(g.below(16) == 0 ? scale & 0x83ffu : scale));
      if constexpr (F::m_at >= 0) put(&data[at + static_cast<std::size_t>(F::m_at)], half(g));
    }
  } else {
    constexpr std::size_t size = sizeof(typename F::element);
    for (std::size_t at = 0; at < data.size(); at += size) {
      if constexpr (std::is_same_v<F, tg::f16>) put(&data[at], half(g));
      else if constexpr (std::is_same_v<F, tg::bf16>) put(&data[at], static_cast<std::uint16_t>(single(g) >> 16));
      else put(&data[at], single(g));
    }
  }
  return data;
}

// The same with every other quant (of floats: weight) at random a zero, which sparse matrices drop. In every format quants stand last.
template <tg::sparse_format F>
std::vector<unsigned char> sparse_weights(tg::index_t N, tg::index_t K, std::uint64_t seed) {
  using rows_of = tg::detail::sparse_rows<F>;
  constexpr std::size_t element = rows_of::element_bytes, block = tg::source_row_bytes<F>(tg::detail::traits<F>::block_k),
                        quants = element * tg::detail::traits<F>::block_k / (rows_of::nibbles ? 2 : 1);
  std::vector<unsigned char> data = weights<F>(N, K, seed);
  generator g(seed);
  for (std::size_t at = 0; at < data.size(); at += block)
    for (std::size_t i = block - quants; i < block; i += element)
      if (g.below(2) == 0) std::memset(&data[at + i], rows_of::nibbles ? 0x88 : 0, element);
  return data;
}

// M x K activations as T = float, f16 or bf16.
template <class T>
std::vector<T> activations(tg::index_t M, tg::index_t K, std::uint64_t seed) {
  generator g(seed);
  std::vector<T> a(static_cast<std::size_t>(M * K));
  for (T& x : a) {
    if constexpr (std::is_same_v<T, tg::f16>) x.bits = half(g);
    else if constexpr (std::is_same_v<T, tg::bf16>) x.bits = static_cast<std::uint16_t>(single(g) >> 16);
    else x = std::bit_cast<float>(single(g));
  }
  return a;
}

template <class T>
tg::matrix_view<const T> view(const std::vector<T>& a, tg::index_t rows) {
  return {a.data(), rows, rows == 0 ? 0 : static_cast<tg::index_t>(a.size()) / rows};
}
template <class T>
tg::matrix_view<T> view(std::vector<T>& c, tg::index_t rows) {
  return {c.data(), rows, rows == 0 ? 0 : static_cast<tg::index_t>(c.size()) / rows};
}

inline std::uint64_t hash(const void* data, std::size_t size) {  // FNV-1a
  std::uint64_t h = 0xcbf29ce484222325u;
  for (std::size_t i = 0; i < size; ++i) h = (h ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3u;
  return h;
}
template <class T>
std::uint64_t hash(const std::vector<T>& v) {
  return hash(v.data(), v.size() * sizeof(T));
}

}  // namespace bits
