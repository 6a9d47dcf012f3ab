// Rows of a sparse tile (pack/sparse_panel.hpp). Included inside namespace tegula::scalar.

// Weights of F are expanded while they are multiplied by at most expanded_rows rows of A; floats a strip at a time, of so many panels.
template <class F>
inline constexpr int expanded_rows = 0;
inline constexpr int expanded_strip = 1, expanded_panels = 1;
// Whether that happens in registers; else a tile at a time.
template <class F>
inline constexpr bool has_float_products = false;
// e and o (float.inl) of MR rows of A and a panel of F: add() those of a row of a tile, total() is e + o.
template <class F, int MR, bool Half>
class float_products;

// With up to so many rows of A it is asked whether each row of a tile keeps at most half of itself: expand_row may then load less (Half).
template <class>
inline constexpr int sized_rows = 0;
// Whether they do.
template <int ElementBytes>
bool keeps_halves(const std::byte* masks);

// The masks of a tile's rows, as expand_row takes them. The flag, for ISAs that have a choice: whether products come in between.
template <int, bool>
using row_masks = detail::plain_masks;

// A row of a tile, 64 bytes: elements, one after the other from `values`, where its mask has a bit, zeros elsewhere.
template <int ElementBytes, bool>
TEGULA_INLINE void expand_row(const std::byte* values, std::uint64_t mask, vu32 (&row)[16 / lanes]) {
  using element = std::conditional_t<ElementBytes == 2, std::uint16_t, std::uint8_t>;
  constexpr int elements_of_row = 64 / ElementBytes;
  element elements[elements_of_row];
  for (int e = 0; e < elements_of_row; ++e) {
    const auto kept = static_cast<std::uint32_t>(mask >> e & 1u);
    element value;
    __builtin_memcpy(&value, values, sizeof value);
    elements[e] = static_cast<element>(value & (0u - kept));
    values += kept * sizeof value;
  }
  __builtin_memcpy(&row, elements, sizeof row);
}
