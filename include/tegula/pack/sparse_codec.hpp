// Between a packed panel and the sparse panel of the same weights (layout: pack/sparse_panel.hpp): measures, writes, checks, and
// restores it. Plain code for any platform; the kernels have expansion of their own (isa/*/expand.inl).
#pragma once

#include "block_codec.hpp"
#include "sparse_panel.hpp"

namespace tegula::inline TEGULA_ABI::detail {

// The elements of a tile's rows, zeros as zeros, and how many are something else.
template <class F>
class tile_elements {
 public:
  using layout = sparse_layout<F>;
  using rows_of = sparse_rows<F>;
  using element = std::conditional_t<rows_of::element_bytes == 2, std::uint16_t, std::uint8_t>;

  // From the packed panel.
  tile_elements(const std::byte* stored, index_t rows) : rows_(static_cast<std::size_t>(rows)) {
    if constexpr (rows_of::nibbles) {
      for (std::size_t r = 0; r < rows_; ++r)
        for (std::size_t i = 0; i < row_bytes; ++i)
          of_[r][i] = (static_cast<unsigned>(stored[r / 2 * row_bytes + i]) >> (r % 2 * 4) & 15u) ^ rows_of::zero;
    } else {
      std::memcpy(of_, stored, rows_ * row_bytes);
      if constexpr (rows_of::zero != 0)
        for (std::size_t r = 0; r < rows_; ++r)
          for (element& e : of_[r]) e ^= rows_of::zero;
    }
    for (std::size_t r = 0; r < rows_; ++r)
      for (const element e : of_[r]) counts_.of[r % 2] += e != 0;
  }
  // From a record that is not full.
  tile_elements(const tile_record& record, const sparse_tile& tile) : rows_(static_cast<std::size_t>(tile.rows)) {
    const std::byte* masks = record.at + tile.side_bytes;
    const std::byte* values = masks + rows_ * sizeof(typename layout::mask);
    for (std::size_t r = 0; r < rows_; ++r) {
      typename layout::mask mask = 0;
      if (record.kind == tile_kind::sparse) std::memcpy(&mask, masks + r * sizeof mask, sizeof mask);
      for (int e = 0; e < layout::elements; ++e) of_[r][e] = in_mask(mask, e) ? value(values, r) : element{0};
    }
  }

  [[nodiscard]] const value_counts& counts() const noexcept { return counts_; }
  [[nodiscard]] tile_kind kind() const noexcept {
    const std::size_t count = counts_.all();
    return count == 0 ? tile_kind::empty : count == rows_ * layout::elements ? tile_kind::full : tile_kind::sparse;
  }

  void write_masks_and_values(std::byte* to) const noexcept {
    std::byte* values = to + rows_ * sizeof(typename layout::mask);
    std::memset(values, 0, layout::value_bytes(counts_));
    value_counts put;
    for (std::size_t r = 0; r < rows_; ++r) {
      typename layout::mask mask = 0;
      for (int e = 0; e < layout::elements; ++e) {
        if (of_[r][e] == 0) continue;
        mask |= typename layout::mask{1} << e;
        put_value(values, put, r, of_[r][e]);
      }
      std::memcpy(to + r * sizeof mask, &mask, sizeof mask);
    }
  }
  void write_stored(std::byte* to) const noexcept {
    if constexpr (rows_of::nibbles) {
      for (std::size_t r = 0; r < rows_; r += 2)
        for (std::size_t i = 0; i < row_bytes; ++i)
          to[r / 2 * row_bytes + i] = static_cast<std::byte>((of_[r][i] ^ rows_of::zero) | (of_[r + 1][i] ^ rows_of::zero) << 4);
    } else {
      for (std::size_t r = 0; r < rows_; ++r)
        for (int e = 0; e < layout::elements; ++e) {
          const element restored = of_[r][e] ^ rows_of::zero;
          std::memcpy(to + r * row_bytes + static_cast<std::size_t>(e) * sizeof restored, &restored, sizeof restored);
        }
    }
  }

 private:
  static bool in_mask(typename layout::mask mask, int e) noexcept { return (mask >> e & 1u) != 0; }
  // The next value, which belongs to row r.
  element value(const std::byte* values, std::size_t r) noexcept {
    if constexpr (rows_of::nibbles) {
      return static_cast<element>(values[counts_.of[r % 2]++]) >> (r % 2 * 4) & 15u;
    } else {
      element e;
      std::memcpy(&e, values + counts_.all() * sizeof e, sizeof e);
      ++counts_.of[r % 2];
      return e;
    }
  }
  static void put_value(std::byte* values, value_counts& put, std::size_t r, element e) noexcept {
    if constexpr (rows_of::nibbles) values[put.of[r % 2]] |= static_cast<std::byte>(e << (r % 2 * 4));
    else std::memcpy(values + put.all() * sizeof e, &e, sizeof e);
    ++put.of[r % 2];
  }

  element of_[sparse_tile_rows][layout::elements];
  std::size_t rows_;
  value_counts counts_;
};

// Bytes of a tile's record, side fields aside.
template <class F>
constexpr std::size_t record_bytes(const sparse_tile& tile, tile_kind kind, const value_counts& counts) {
  using layout = sparse_layout<F>;
  if (kind == tile_kind::empty) return 0;
  if (kind == tile_kind::full) return tile.stored_bytes;
  return static_cast<std::size_t>(tile.rows) * sizeof(typename layout::mask) + layout::value_bytes(counts);
}

// A packed panel of weights that are zero, the scales too.
template <class F>
void clear_packed_panel(std::byte* packed, index_t K) {
  using rows_of = sparse_rows<F>;
  for_each_sparse_tile<F>(K, [&](const sparse_tile& tile) {
    std::memset(packed + tile.side_at, 0, tile.side_bytes);
    std::memset(packed + tile.stored_at, rows_of::nibbles ? rows_of::zero * 0x11 : rows_of::zero, tile.stored_bytes);
  });
}

// The largest panel whose places tile words can hold.
inline constexpr std::size_t max_sparse_panel = ~std::uint32_t{0};

struct sparse_size {
  std::size_t bytes, nonzeros;
};

// What a packed panel of K weights takes.
template <class F>
sparse_size measure_sparse_panel(const std::byte* packed, index_t K) {
  using layout = sparse_layout<F>;
  sparse_size size{layout::records_at(K), 0};
  for_each_sparse_tile<F>(K, [&](const sparse_tile& tile) {
    const tile_elements<F> elements(packed + tile.stored_at, tile.rows);
    size.bytes += tile.side_bytes + record_bytes<F>(tile, elements.kind(), elements.counts());
    size.nonzeros += elements.counts().all();
  });
  return size;
}

template <class F>
void write_sparse_panel(const std::byte* packed, index_t K, std::byte* panel) {
  using layout = sparse_layout<F>;
  std::size_t at = layout::records_at(K);
  const auto put_word = [&](index_t tile, tile_kind kind) {
    const auto word = static_cast<std::uint32_t>(at) | static_cast<std::uint32_t>(kind);
    std::memcpy(panel + static_cast<std::size_t>(tile) * sizeof word, &word, sizeof word);
  };
  for_each_sparse_tile<F>(K, [&](const sparse_tile& tile) {
    const tile_elements<F> elements(packed + tile.stored_at, tile.rows);
    put_word(tile.tile, elements.kind());
    std::memcpy(panel + at, packed + tile.side_at, tile.side_bytes);
    at += tile.side_bytes;
    if (elements.kind() == tile_kind::full) std::memcpy(panel + at, packed + tile.stored_at, tile.stored_bytes);
    if (elements.kind() == tile_kind::sparse) elements.write_masks_and_values(panel + at);
    at += record_bytes<F>(tile, elements.kind(), elements.counts());
  });
  put_word(layout::tiles(K), tile_kind::sparse);
}

// Restores the packed panel.
template <class F>
void restore_packed_panel(const std::byte* panel, index_t K, std::byte* packed) {
  for_each_sparse_tile<F>(K, [&](const sparse_tile& tile) {
    const tile_record record(panel, tile.tile);
    std::memcpy(packed + tile.side_at, record.at, tile.side_bytes);
    if (record.kind == tile_kind::full) std::memcpy(packed + tile.stored_at, record.at + tile.side_bytes, tile.stored_bytes);
    else tile_elements<F>(record, tile).write_stored(packed + tile.stored_at);
  });
}

// Which elements of a row may be in its mask: those of `columns` columns and of `k` of K.
template <class F>
constexpr typename sparse_layout<F>::mask allowed_mask(index_t columns, index_t k) {
  using rows_of = sparse_rows<F>;
  constexpr bool by_k = std::is_same_v<F, f16>;  // [k][n]; all others [n][k]
  typename sparse_layout<F>::mask mask = 0;
  for (int e = 0; e < sparse_layout<F>::elements; ++e) {
    const index_t n = by_k ? e % NR : e / rows_of::row_k, in_row = by_k ? e / NR : e % rows_of::row_k;
    if (n < columns && in_row < k) mask |= typename sparse_layout<F>::mask{1} << e;
  }
  return mask;
}

// Why `bytes` at `panel` are no sparse panel of `columns` columns of K weights, or nullptr; counts its non-zeros. Nothing is read that is
// not there.
template <class F>
const char* why_no_sparse_panel(const std::byte* panel, std::size_t bytes, index_t columns, index_t K, std::size_t& nonzeros) {
  using layout = sparse_layout<F>;
  using mask_type = typename layout::mask;
  if (bytes < layout::records_at(K) || bytes > max_sparse_panel) return "its tile words do not fit";
  const char* problem = nullptr;
  std::size_t at = layout::records_at(K);
  for_each_sparse_tile<F>(K, [&](const sparse_tile& tile) {
    if (problem != nullptr) return;
    const tile_record record(panel, tile.tile);
    const std::size_t start = static_cast<std::size_t>(record.at - panel), end = static_cast<std::size_t>(record.end - panel);
    if (start != at || end < start || end > bytes) return void(problem = "the offset of a tile is wrong");
    if (record.kind > tile_kind::full) return void(problem = "a tile is of an unknown kind");
    value_counts counts;
    const std::size_t masks = static_cast<std::size_t>(tile.rows) * sizeof(mask_type);
    if (record.kind == tile_kind::full) {
      if (columns < NR || (tile.tile * sparse_tile_rows + tile.rows) * sparse_rows<F>::row_k > K)
        return void(problem = "a tile that is not whole is full");
      nonzeros += static_cast<std::size_t>(tile.rows * layout::elements);
    } else if (record.kind == tile_kind::sparse) {
      if (end - start < tile.side_bytes + masks) return void(problem = "the masks of a tile do not fit");
      for (index_t r = 0; r < tile.rows; ++r) {
        mask_type mask;
        std::memcpy(&mask, record.at + tile.side_bytes + static_cast<std::size_t>(r) * sizeof mask, sizeof mask);
        const index_t k = K - (tile.tile * sparse_tile_rows + r) * sparse_rows<F>::row_k;
        if ((mask & ~allowed_mask<F>(columns, k)) != 0) return void(problem = "a mask names weights outside the matrix");
        counts.of[r % 2] += static_cast<std::size_t>(std::popcount(mask));
      }
    }
    at = start + tile.side_bytes + record_bytes<F>(tile, record.kind, counts);
    if (at != end) return void(problem = "a tile has another number of values than its masks say");
    nonzeros += counts.all();
  });
  if (problem == nullptr && at != bytes) problem = "its records end elsewhere";
  return problem;
}

}  // namespace tegula::inline TEGULA_ABI::detail
