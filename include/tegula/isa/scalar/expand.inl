// A row of a sparse panel: see pack/sparse_panel.hpp. Included inside namespace tegula::scalar.

// 64 bytes: elements, one after the other from `values`, where the mask has a bit, zeros elsewhere.
template <int ElementBytes>
TEGULA_INLINE void expand_row(const std::byte* values, const std::byte* mask, vu32 (&row)[16 / lanes]) {
  using element = std::conditional_t<ElementBytes == 2, std::uint16_t, std::uint8_t>;
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, mask, 64 / ElementBytes / 8);
  element elements[64 / ElementBytes];
  for (int e = 0; e < 64 / ElementBytes; ++e) {
    const auto kept = static_cast<std::uint32_t>(bits >> detail::mask_bit<ElementBytes>(e) & 1u);
    element value;
    __builtin_memcpy(&value, values, sizeof value);
    elements[e] = static_cast<element>(value & (0u - kept));
    values += kept * sizeof value;
  }
  __builtin_memcpy(&row, elements, sizeof row);
}
