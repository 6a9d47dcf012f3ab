// Products of mixed types, shapes and modes, with the bits that they must have. For all tests here.
#pragma once

#include <optional>
#include <variant>

#include "../build/bits.hpp"

namespace tg = tegula;

enum class outcome { right, wrong, skipped };

// A type for each use of tiles: two planes with and without minima, a float scale a group, bf16 pairs.
using tile_weights =
    std::variant<tg::packed_matrix<tg::q4_k>, tg::packed_matrix<tg::q6_k>, tg::packed_matrix<tg::q4_1>, tg::packed_matrix<tg::bf16>>;

template <tg::block_format F>
tile_weights packed(tg::index_t N, tg::index_t K) {
  return tg::pack<F>(bits::weights<F>(N, K, 7).data(), {.N = N, .K = K});
}

// One product.
class job {
 public:
  // function(const packed_matrix<F>&)
  template <class Function>
  decltype(auto) visit(Function function) const {
    return std::visit(function, w_);
  }
  job(tile_weights w, tg::compute mode, tg::index_t M)
      : w_(std::move(w)), mode_(mode), M_(M), a_(bits::activations<float>(M, visit([](const auto& typed) { return typed.cols(); }), 5)) {}

  template <class Executor = tg::serial_executor>
  [[nodiscard]] std::vector<float> multiply(Executor&& executor = {}, std::optional<tg::isa> which = {}) const {
    return visit([&](const auto& w) {
      std::vector<float> c(static_cast<std::size_t>(M_ * w.rows()));
      tg::gemm(a(), w, bits::view(c, M_), tg::identity_epilogue{}, executor, {.isa = which, .compute = mode_});
      return c;
    });
  }
  [[nodiscard]] tg::matrix_view<const float> a() const { return bits::view(a_, M_); }
  [[nodiscard]] tg::compute mode() const { return mode_; }

 private:
  tile_weights w_;
  tg::compute mode_;
  tg::index_t M_;
  std::vector<float> a_;
};

inline const std::vector<job>& jobs() {
  static const std::vector<job> all = [] {
    std::vector<job> list;
    for (const tg::index_t M : {1, 7, 16, 41}) {
      const tg::index_t N = 50 - M, K = 256 * (1 + M % 3);
      list.emplace_back(packed<tg::q4_k>(N, K), tg::compute::exact, M);
      list.emplace_back(packed<tg::q6_k>(N, K), tg::compute::exact, M);
      list.emplace_back(packed<tg::q4_1>(N, K - 96), tg::compute::exact, M);
      list.emplace_back(packed<tg::bf16>(N, K), tg::compute::bf16, M);
    }
    list.emplace_back(packed<tg::q4_k>(40, 512), tg::compute::bf16, 33);
    list.emplace_back(packed<tg::bf16>(33, 160), tg::compute::exact, 18);
    return list;
  }();
  return all;
}

// The results of all jobs, one after another in this thread.
inline std::vector<std::vector<float>> multiply_all() {
  std::vector<std::vector<float>> results;
  for (const job& j : jobs()) results.push_back(j.multiply());
  return results;
}

inline bool same_bits(const std::vector<float>& x, const std::vector<float>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}
inline bool same_bits(const std::vector<std::vector<float>>& x, const std::vector<std::vector<float>>& y) {
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!same_bits(x[i], y[i])) return false;
  return x.size() == y.size();
}
inline outcome right_if(bool right) { return right ? outcome::right : outcome::wrong; }
