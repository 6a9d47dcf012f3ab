// save() and load(): a packed matrix as a file, versioned and checksummed. Little-endian, as every platform of the library.
//
//   64 bytes of header, which has a checksum of its own | the panels, bytes() of them
#pragma once

#include <bit>
#include <fstream>
#include <istream>
#include <ostream>
#include <string>

#include "packed_matrix.hpp"

namespace tegula::inline TEGULA_ABI {

namespace detail {

static_assert(std::endian::native == std::endian::little, "packed files and panels are little-endian");

// Four independent lanes of multiply-xor, 8 bytes at a time each: detects damage, does not resist forgery.
inline std::uint64_t checksum(const std::byte* data, std::size_t size) noexcept {
  constexpr std::uint64_t prime = 0x9e3779b97f4a7c15u;
  std::uint64_t lanes[4] = {1, 2, 3, 4};
  std::size_t i = 0;
  for (; i + 32 <= size; i += 32)
    for (std::size_t lane = 0; lane < 4; ++lane) {
      std::uint64_t word;
      std::memcpy(&word, data + i + 8 * lane, 8);
      lanes[lane] = (std::rotl(lanes[lane], 29) ^ word) * prime;
    }
  for (; i < size; ++i) lanes[0] = (std::rotl(lanes[0], 29) ^ static_cast<std::uint64_t>(data[i])) * prime;
  std::uint64_t sum = size;
  for (const std::uint64_t lane : lanes) sum = (std::rotl(sum, 29) ^ lane ^ (lane >> 32)) * prime;
  return sum;
}

struct file_header {
  char magic[8] = {'t', 'e', 'g', 'u', 'l', 'a', '\r', '\n'};  // line ends show a transfer as text
  std::uint32_t version = 2;                                   // of this header and of pack/panel.hpp's layout
  std::uint32_t type = 0;                                      // ggml's number
  std::int64_t N = 0, K = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t payload_checksum = 0;
  std::uint64_t reserved = 0;
  std::uint64_t header_checksum = 0;  // of the 56 bytes before it

  [[nodiscard]] std::uint64_t own_checksum() const noexcept { return checksum(reinterpret_cast<const std::byte*>(this), sizeof *this - 8); }
};
static_assert(sizeof(file_header) == 64);

inline void read_exactly(std::istream& in, void* data, std::size_t size, const char* what) {
  in.read(static_cast<char*>(data), static_cast<std::streamsize>(size));
  if (static_cast<std::size_t>(in.gcount()) != size)
    fail_file("packed matrix is truncated: ", what, " needs ", size, " bytes, ", in.gcount(), " are left");
}

inline file_header read_header(std::istream& in) {
  file_header header;
  const file_header expected;
  read_exactly(in, &header, sizeof header, "the header");
  if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0)
    fail_file("not a packed matrix: the file does not start with its magic bytes");
  if (header.header_checksum != header.own_checksum()) fail_file("packed matrix is corrupt: the header's checksum does not match");
  if (header.version != expected.version)
    fail_file("packed matrix has version ", header.version, ", this library reads version ", expected.version, ": pack it again");
  return header;
}

template <block_format F>
packed_matrix<F> read_payload(std::istream& in, const file_header& header) {
  const weight_shape shape{header.N, header.K};
  if (!is_shape<F>(shape)) fail_file("packed matrix is corrupt: its header says ", F::name, " of N = ", header.N, ", K = ", header.K);
  const std::size_t expected = packed_matrix<F>::packed_bytes(shape);
  if (header.payload_bytes != expected)
    fail_file("packed matrix is corrupt: ", F::name, " of N = ", header.N, ", K = ", header.K, " takes ", expected,
              " bytes, the header says ", header.payload_bytes);
  // A file tells how long it is: then a header alone cannot make us allocate.
  if (const auto here = in.tellg(); here != std::istream::pos_type(-1)) {
    in.seekg(0, std::ios::end);
    const auto end = in.tellg();
    in.seekg(here);
    if (end != std::istream::pos_type(-1) && static_cast<std::uint64_t>(end - here) < expected)
      fail_file("packed matrix is truncated: its panels need ", expected, " bytes, ", end - here, " are left");
  }
  packed_matrix<F> w(shape, not_initialised{});
  read_exactly(in, w.panel(0), w.bytes(), "its panels");
  if (checksum(w.panel(0), w.bytes()) != header.payload_checksum)
    fail_file("packed matrix is corrupt: the checksum of its panels does not match");
  return w;
}

template <class Matrix>
struct loader;
template <block_format F>
struct loader<packed_matrix<F>> {
  static packed_matrix<F> load(std::istream& in) {
    const file_header header = read_header(in);
    if (header.type != F::id.value)
      fail_file("packed matrix holds ggml type ", header.type, ", asked for ", F::name, " (", F::id.value, ")");
    return read_payload<F>(in, header);
  }
};
template <>
struct loader<any_packed_matrix> {
  static any_packed_matrix load(std::istream& in) {
    const file_header header = read_header(in);
    if (!supported(type_id(header.type))) fail_file("packed matrix holds ggml type ", header.type, ", which is not supported");
    return visit(type_id(header.type), [&](auto format) { return any_packed_matrix(read_payload<decltype(format)>(in, header)); });
  }
};

}  // namespace detail

// Writes W. Throws std::runtime_error if the stream does not take it.
template <block_format F>
void save(const packed_matrix<F>& w, std::ostream& out) {
  detail::file_header header;
  header.type = F::id.value;
  header.N = w.rows();
  header.K = w.cols();
  header.payload_bytes = w.bytes();
  header.payload_checksum = detail::checksum(w.panel(0), w.bytes());
  header.header_checksum = header.own_checksum();
  out.write(reinterpret_cast<const char*>(&header), sizeof header);
  out.write(reinterpret_cast<const char*>(w.panel(0)), static_cast<std::streamsize>(w.bytes()));
  if (!out.flush()) detail::fail_file("could not write a packed matrix of ", w.bytes(), " bytes");
}
inline void save(const any_packed_matrix& w, std::ostream& out) {
  w.visit([&](const auto& typed) { save(typed, out); });
}
template <class Matrix>
void save(const Matrix& w, const std::string& path) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  if (!out) detail::fail_file("cannot open ", path, " for writing");
  save(w, out);
}

// Reads what save() wrote, as Matrix = packed_matrix<F> or any_packed_matrix. Throws std::runtime_error for a file that is
// truncated, foreign, corrupt, or of another type or version.
template <class Matrix>
Matrix load(std::istream& in) {
  return detail::loader<Matrix>::load(in);
}
template <class Matrix>
Matrix load(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) detail::fail_file("cannot open ", path);
  return load<Matrix>(in);
}

}  // namespace tegula::inline TEGULA_ABI
