#include "data.hpp"

#include <tegula/core/types.hpp>

#include <cstring>

namespace tests {

namespace {

template <class F>
block_info describe() {
  block_info b{F::id, F::name, tg::detail::traits<F>::block_k, tg::detail::traits<F>::block_bytes, tg::quantized_format<F>};
  if constexpr (tg::quantized_format<F>) b.d_at = F::d_at;
  if constexpr (tg::quant_format<F>) b.m_at = F::m_at;
  b.wide_d = tg::byte_format<F>;
  return b;
}

// A finite f16 of magnitude 2^-10 .. 2^-2.
std::uint16_t moderate_half(splitmix& next) {
  const auto bits = static_cast<std::uint32_t>(next() >> 48);
  return static_cast<std::uint16_t>((bits & 0x83ffu) | ((5u + next.below(8)) << 10));
}

}  // namespace

block_info info_of(tg::type_id type) {
  return tg::visit(type, [](auto format) { return describe<decltype(format)>(); });
}

const std::vector<block_info>& all_types() {
  static const std::vector<block_info> types = []<class... F>(tg::format_list<F...>) {
    return std::vector<block_info>{describe<F>()...};
  }(tg::all_formats{});
  return types;
}

void set_half(bytes& blocks, const block_info& type, tg::index_t block, int at, std::uint16_t bits) {
  unsigned char* to = blocks.data() + block * type.block_bytes + at;
  if (type.wide_d && at == type.d_at) {
    const float value = tg::widen_f16(bits);
    std::memcpy(to, &value, sizeof value);
  } else {
    std::memcpy(to, &bits, sizeof bits);
  }
}

bytes random_blocks(const block_info& type, tg::index_t N, tg::index_t K, std::uint64_t seed) {
  splitmix next(seed * 1000 + type.id.value);
  bytes blocks(type.bytes(N, K));
  const auto count = static_cast<tg::index_t>(blocks.size()) / type.block_bytes;
  if (type.quantized) {
    for (auto& byte : blocks) byte = static_cast<unsigned char>(next() >> 56);
    for (tg::index_t b = 0; b < count; ++b) {
      set_half(blocks, type, b, type.d_at, moderate_half(next));
      if (type.m_at >= 0) set_half(blocks, type, b, type.m_at, moderate_half(next));
    }
  } else if (type.block_bytes == 4) {
    for (tg::index_t i = 0; i < count; ++i) {
      const float value = next.symmetric();
      std::memcpy(blocks.data() + 4 * i, &value, 4);
    }
  } else {
    for (tg::index_t i = 0; i < count; ++i) {
      const std::uint16_t half = moderate_half(next);
      const tg::bf16 rounded(next.symmetric());
      set_half(blocks, type, i, 0, type.id == tg::f16::id ? half : rounded.bits);
    }
  }
  return blocks;
}

std::vector<float> random_activations(tg::index_t M, tg::index_t K, std::uint64_t seed) {
  splitmix next(seed);
  std::vector<float> a(static_cast<std::size_t>(M * K));
  for (tg::index_t m = 0; m < M; ++m) {
    const float size = m % 5 == 3 ? 1000.f : m % 5 == 4 ? 0x1p-12f : 1.f;
    for (tg::index_t k = 0; k < K; ++k) a[static_cast<std::size_t>(m * K + k)] = size * next.symmetric();
  }
  return a;
}

}  // namespace tests
