// Attention over compressed KV caches: the same bits as its dense twin's, on every ISA and for every number of threads, and near to a
// softmax in double.
#include <tegula/sparse_attention.hpp>
#include <tegula/thread_pool.hpp>

#include "../support/catch.hpp"
#include "../support/runner.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace tests;

namespace {

struct sequence {
  tg::index_t prompt, folded, tail;  // positions: prefilled; appended and folded; appended
  tg::index_t kv_heads, group, dim;
  tg::kv_sparsity sparsity;

  [[nodiscard]] tg::index_t positions() const { return prompt + folded + tail; }
  [[nodiscard]] tg::index_t columns() const { return kv_heads * dim; }
};

std::ostream& operator<<(std::ostream& out, const sequence& s) {
  return out << s.prompt << " + " << s.folded << " + " << s.tail << " positions, " << s.kv_heads << " x " << s.group << " heads of "
             << s.dim << ", sparsity " << s.sparsity.k << " " << s.sparsity.v;
}

constexpr tg::index_t room = 21;  // of the tail, more than it is given

// One segment and several; nothing in a part; head sizes that are not whole vectors, panels or units of K; one position.
const sequence sequences[] = {
    {70, 20, 9, 2, 4, 64, {.5, .5}}, {1100, 0, 1, 1, 1, 16, {.9, .7}}, {0, 0, 5, 3, 2, 80, {.5, .5}},   {0, 21, 0, 1, 9, 33, {.3, .6}},
    {1, 0, 0, 2, 3, 128, {0, 0}},    {47, 1, 17, 1, 17, 7, {1, 0}},    {2100, 3, 2, 1, 2, 1, {.7, .2}},
};

template <class E>
std::vector<E> rounded(const std::vector<float>& values) {
  std::vector<E> out;
  for (const float value : values) out.push_back(E(value));
  return out;
}

struct problem {
  sequence s;
  std::vector<float> k, v, q;

  explicit problem(const sequence& of)
      : s(of),
        k(random_activations(s.positions(), s.columns(), 1)),
        v(random_activations(s.positions(), s.columns(), 2)),
        q(random_activations(s.kv_heads * s.group, s.dim, 3)) {}

  template <class T>
  tg::matrix_view<const T> rows(const std::vector<T>& of, tg::index_t first, tg::index_t count) const {
    return {of.data() + first * s.columns(), count, s.columns()};
  }
  template <class Cache>
  Cache cache() const {
    Cache made(s.kv_heads, s.dim, room);
    made.prefill(rows(k, 0, s.prompt), rows(v, 0, s.prompt), s.sparsity);
    made.append(rows(k, s.prompt, s.folded), rows(v, s.prompt, s.folded));
    made.fold(s.sparsity);
    const tg::index_t first = s.prompt + s.folded;
    for (tg::index_t i = first; i < s.positions(); ++i) made.append(rows(k, i, 1), rows(v, i, 1));
    return made;
  }
  // K, or V, as a cache of F has it, by another way: sorted. Of equal elements those first in K[position][d] and V[d][position] stay.
  template <class F>
  std::vector<float> pruned(bool of_v) const;
};

template <class F>
std::vector<float> problem::pruned(bool of_v) const {
  const double sparsity = of_v ? s.sparsity.v : s.sparsity.k;
  std::vector<float> out;
  for (const auto x : rounded<typename F::element>(of_v ? v : k)) out.push_back(static_cast<float>(x));
  const auto prune = [&](tg::index_t first, tg::index_t last, tg::index_t head) {
    const tg::index_t count = last - first;
    std::vector<float*> elements;
    for (tg::index_t i = 0; i < count * s.dim; ++i) {
      const tg::index_t position = of_v ? i % count : i / s.dim, d = of_v ? i / count : i % s.dim;
      elements.push_back(&out[static_cast<std::size_t>((first + position) * s.columns() + head * s.dim + d)]);
    }
    std::stable_sort(elements.begin(), elements.end(), [](const float* a, const float* b) { return std::fabs(*a) > std::fabs(*b); });
    const auto dropped = static_cast<std::size_t>(sparsity * static_cast<double>(elements.size()));
    for (std::size_t i = elements.size() - dropped; i < elements.size(); ++i) *elements[i] = 0;
  };
  for (tg::index_t h = 0; h < s.kv_heads; ++h) {
    for (tg::index_t p = 0; p < s.prompt; p += tg::kv_segment_positions) prune(p, std::min(p + tg::kv_segment_positions, s.prompt), h);
    prune(s.prompt, s.prompt + s.folded, h);
  }
  return out;
}

template <class Cache>
std::vector<float> attend(const problem& p, const Cache& cache, tg::attention_options options = {}, executor_ref executor = {},
                          float scale = .25f) {
  const tg::index_t heads = p.s.kv_heads * p.s.group;
  std::vector<float> out(static_cast<std::size_t>(heads * p.s.dim));
  tg::attend(cache, tg::matrix_view<const float>(p.q.data(), heads, p.s.dim), tg::matrix_view<float>(out.data(), heads, p.s.dim), scale,
             executor, options);
  return out;
}

tg::attention_options with(tg::isa isa, tg::compute mode = tg::compute::exact) { return {.gemm = {.isa = isa, .compute = mode}}; }

template <class F>
void check_twins() {
  for (const sequence& s : sequences) {
    const problem p(s);
    const auto sparse = p.cache<tg::sparse_kv_cache<F>>();
    const auto dense = p.cache<tg::dense_kv_cache<F>>();
    const std::vector<float> expected = attend(p, dense, with(tg::isa::scalar));
    CHECK(sparse.positions() == s.positions());
    CHECK(sparse.tail_positions() == s.tail);
    for (const tg::isa isa : isas_here()) {
      INFO(F::name << " " << tg::name_of(isa) << ", " << s);
      CHECK(difference(attend(p, sparse, with(isa)), expected, s.dim) == "");
      CHECK(difference(attend(p, dense, with(isa)), expected, s.dim) == "");
      const auto bf16 = with(isa, tg::compute::bf16);
      CHECK(difference(attend(p, sparse, bf16), attend(p, dense, bf16), s.dim) == "");
    }
    CHECK(difference(attend(p, sparse), expected, s.dim) == "");
  }
}

// One query head in double, and how far the result may be from it. v = 2^-24, u = 2^-8. Relative errors of a weight: its score's, an
// absolute error of the exponent; the exponent's rounding, twice (within its part and between parts); e^x, 4 v, twice. They count twice,
// above and below the division. Then come the sums: of weights, V, and parts, and the division.
struct bounded {
  std::vector<double> values, tolerances;
};
bounded reference(const problem& p, const std::vector<float>& k, const std::vector<float>& v, tg::index_t head, tg::index_t first,
                  bool as_bf16, double scale) {
  constexpr double unit = 0x1p-24, half_unit = 0x1p-8;
  const auto dim = static_cast<double>(p.s.dim), count = static_cast<double>(p.s.positions());
  const auto at = [&](tg::index_t position) { return static_cast<std::size_t>(position * p.s.columns() + head / p.s.group * p.s.dim); };
  const float* q = p.q.data() + head * p.s.dim;
  const double rounding = as_bf16 ? 2 * half_unit + half_unit * half_unit : 0;
  std::vector<double> scores;
  double largest = -1e300, least = 1e300, error = 0;
  for (tg::index_t i = first; i < p.s.positions(); ++i) {
    double score = 0, size = 0;
    for (tg::index_t d = 0; d < p.s.dim; ++d) {
      const double term = static_cast<double>(q[d]) * static_cast<double>(k[at(i) + static_cast<std::size_t>(d)]) * scale;
      score += term, size += std::fabs(term);
    }
    scores.push_back(score);
    largest = std::max(largest, score), least = std::min(least, score);
    error = std::max(error, (rounding + (20 + dim / 32 + 1) * unit) * size);
  }
  const double of_weights = 2 * (error + 2 * (largest - least + 2 * error) * unit + 8 * unit);
  const double of_sums = rounding + (20 + count / 32) * unit + (count / 16 + 5) * unit + 2 * (count / 1000 + 3) * unit + unit;
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  bounded out;
  for (tg::index_t d = 0; d < p.s.dim; ++d) {
    double value = 0, size = 0;
    for (tg::index_t i = first; i < p.s.positions(); ++i) {
      const double term = scores[static_cast<std::size_t>(i - first)] / sum * static_cast<double>(v[at(i) + static_cast<std::size_t>(d)]);
      value += term, size += std::fabs(term);
    }
    out.values.push_back(value);
    out.tolerances.push_back(std::expm1(of_weights + of_sums) * size + 1e-30);  // expm1: the higher orders
  }
  return out;
}

template <class F>
void check_near(const sequence& s, tg::isa isa, tg::compute mode, tg::index_t first) {
  const problem p(s);
  const std::vector<float> k = p.pruned<F>(false), v = p.pruned<F>(true);
  tg::attention_options options = with(isa, mode);
  if (first > 0) options.window = s.positions() - first;
  const std::vector<float> out = attend(p, p.cache<tg::sparse_kv_cache<F>>(), options);
  double worst = 0;
  for (tg::index_t h = 0; h < s.kv_heads * s.group; ++h) {
    const bounded expected = reference(p, k, v, h, first, mode == tg::compute::bf16, .25);
    for (std::size_t d = 0; d < expected.values.size(); ++d)
      worst = std::max(worst, std::fabs(static_cast<double>(out[static_cast<std::size_t>(h * s.dim) + d]) - expected.values[d]) /
                                  expected.tolerances[d]);
  }
  INFO(F::name << " " << tg::name_of(isa) << " " << tg::name_of(mode) << ", from " << first << ", " << s);
  CHECK(worst <= 1);
}

}  // namespace

TEST_CASE("sparse attention has the dense twin's bits", "[attention]") {
  check_twins<tg::bf16>();
  check_twins<tg::f16>();
}

TEST_CASE("attention is near to one in double, whole and in windows", "[attention]") {
  for (const sequence& s : sequences)
    for (const tg::isa isa : isas_here())
      for (const tg::compute mode : {tg::compute::exact, tg::compute::bf16})
        for (const tg::index_t first : {tg::index_t{0}, s.positions() / 3, s.positions() - 1}) {
          check_near<tg::bf16>(s, isa, mode, first);
          check_near<tg::f16>(s, isa, mode, first);
        }
}

TEST_CASE("the number of threads changes no bit of attention", "[attention][threads]") {
  const problem p(sequences[6]);
  const auto cache = p.cache<tg::sparse_kv_cache<tg::bf16>>();
  tg::thread_pool pool(5);
  CHECK(difference(attend(p, cache, {}, executor_ref(pool)), attend(p, cache), p.s.dim) == "");
}

TEST_CASE("K and V, queries and outputs in every element type", "[attention][elements]") {
  const problem p(sequences[0]);
  const tg::index_t heads = p.s.kv_heads * p.s.group;
  const auto k = rounded<tg::bf16>(p.k), v = rounded<tg::bf16>(p.v), q = rounded<tg::bf16>(p.q);
  tg::sparse_kv_cache<tg::bf16> cache(p.s.kv_heads, p.s.dim), wide(p.s.kv_heads, p.s.dim);
  cache.prefill(p.rows(k, 0, 90), p.rows(v, 0, 90), {.5, .5});
  wide.prefill(p.rows(p.k, 0, 90), p.rows(p.v, 0, 90), {.5, .5});
  problem narrow = p;
  for (std::size_t i = 0; i < q.size(); ++i) narrow.q[i] = static_cast<float>(q[i]);
  const std::vector<float> expected = attend(narrow, wide);
  std::vector<tg::f16> out(expected.size());
  tg::attend(cache, tg::matrix_view<const tg::bf16>(q.data(), heads, p.s.dim), tg::matrix_view<tg::f16>(out.data(), heads, p.s.dim), .25f);
  int wrong = 0;
  for (std::size_t i = 0; i < out.size(); ++i) wrong += out[i].bits != tg::f16(expected[i]).bits;
  CHECK(wrong == 0);
}

TEST_CASE("a pruned cache takes the bytes that its density says", "[attention]") {
  const problem p({1024, 0, 0, 1, 1, 128, {.5, .5}});
  const double dense = 2 * 2 * 1024 * 128;  // K and V, bf16
  const auto bytes = [&](double sparsity) {
    tg::sparse_kv_cache<tg::bf16> cache(1, 128, 0);
    cache.prefill(p.rows(p.k, 0, 1024), p.rows(p.v, 0, 1024), {sparsity, sparsity});
    return static_cast<double>(cache.bytes()) / dense;
  };
  CHECK(bytes(0) <= 1.02);
  CHECK(bytes(.5) <= .58);
  CHECK(bytes(.9) <= .18);
}

TEST_CASE("scores that are not finite", "[attention][nan]") {
  constexpr float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const float bad : {nan, infinity, -infinity}) {
    problem p({1030, 0, 3, 1, 2, 16, {.1, .1}});
    for (tg::index_t d = 0; d < 16; ++d) p.q[static_cast<std::size_t>(d)] = d == 0, p.q[static_cast<std::size_t>(16 + d)] = 0;
    p.q[17] = 1;        // head 0 sees dimension 0 of K, head 1 dimension 1
    p.k[5 * 16] = bad;  // times 1 for head 0; times 0 for head 1
    const bool hidden = bad == -infinity;
    for (const tg::isa isa : isas_here()) {
      const std::vector<float> out = attend(p, p.cache<tg::sparse_kv_cache<tg::bf16>>(), with(isa));
      INFO(tg::name_of(isa) << ", " << bad);
      CHECK(difference(out, attend(p, p.cache<tg::dense_kv_cache<tg::bf16>>(), with(tg::isa::scalar)), 16) == "");
      CHECK(std::isnan(out[0]) != hidden);
      CHECK(std::isnan(out[16]));  // Inf or NaN times 0
    }
  }
  // What the window hides has no say.
  problem p({40, 0, 3, 1, 1, 16, {.1, .1}});
  p.k[5 * 16] = nan;
  CHECK_FALSE(std::isnan(attend(p, p.cache<tg::sparse_kv_cache<tg::bf16>>(), {.window = 10})[0]));
}

TEST_CASE("what attention refuses", "[attention][errors]") {
  const problem p(sequences[0]);
  auto cache = p.cache<tg::sparse_kv_cache<tg::bf16>>();
  const auto refused = [](auto&& f, std::initializer_list<const char*> parts) { check_names(message_of<std::invalid_argument>(f), parts); };
  const auto with_shapes = [&](tg::index_t heads, tg::index_t dim, tg::index_t out_heads, tg::attention_options options = {}) {
    std::vector<float> out(1024);
    tg::attend(cache, tg::matrix_view<const float>(p.q.data(), heads, dim), tg::matrix_view<float>(out.data(), out_heads, dim), 1,
               tg::serial_executor{}, options);
  };
  refused([&] { with_shapes(7, 64, 7); }, {"7 heads of 64", "2 heads of 64"});
  refused([&] { with_shapes(8, 63, 8); }, {"8 heads of 63", "2 heads of 64"});
  refused([&] { with_shapes(8, 64, 6); }, {"6 x 64", "8 x 64"});
  refused([&] { with_shapes(8, 64, 8, {.window = 0}); }, {"0 positions", "at least 1"});
  refused([&] { with_shapes(8, 64, 8, {.gemm = {.compute = tg::compute::requantized}}); }, {"bf16", "requantized"});
  refused([&] { cache.append(p.rows(p.k, 0, 13), p.rows(p.v, 0, 13)); }, {"13 positions", "9 of 21"});
  refused([&] { cache.append(p.rows(p.k, 0, 2), p.rows(p.v, 0, 1)); }, {"2 x 128", "1 x 128"});
  refused([&] { cache.prefill(p.rows(p.k, 0, 2), p.rows(p.v, 0, 2), {}); }, {"9 positions", "fold"});
  refused([&] { cache.fold({.k = 1.5}); }, {"1.5", "0 .. 1"});
  refused([&] { tg::sparse_kv_cache<tg::f16>(0, 64); }, {"0 heads of 64"});
  cache = tg::sparse_kv_cache<tg::bf16>(2, 64);
  refused([&] { with_shapes(8, 64, 8); }, {"0 positions"});
}
