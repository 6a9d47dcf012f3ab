// save() and load(): a packed or sparse matrix as a file, versioned and checksummed. Little-endian, as every platform of the library.
//
//   64 bytes of header, which has a checksum of its own | the matrix, bytes() of it
#pragma once

#include <bit>
#include <concepts>
#include <fstream>
#include <istream>
#include <ostream>
#include <string>

#include "packed_matrix.hpp"
#include "sparse_matrix.hpp"

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

enum class storage_kind : std::uint64_t { packed, sparse };

constexpr const char* storage_name(std::uint64_t storage) { return storage == 0 ? "packed" : storage == 1 ? "sparse" : "unknown"; }

struct file_header {
  char magic[8] = {'t', 'e', 'g', 'u', 'l', 'a', '\r', '\n'};  // line ends show a transfer as text
  std::uint32_t version = 4;                                   // of this header and of the layouts of panel.hpp and sparse_panel.hpp
  std::uint32_t type = 0;                                      // ggml's number
  std::int64_t N = 0, K = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t payload_checksum = 0;
  std::uint64_t storage = 0;          // a storage_kind
  std::uint64_t header_checksum = 0;  // of the 56 bytes before it

  [[nodiscard]] std::uint64_t own_checksum() const noexcept { return checksum(reinterpret_cast<const std::byte*>(this), sizeof *this - 8); }
};
static_assert(sizeof(file_header) == 64);

inline void read_exactly(std::istream& in, void* data, std::size_t size, const char* what) {
  in.read(static_cast<char*>(data), static_cast<std::streamsize>(size));
  if (static_cast<std::size_t>(in.gcount()) != size)
    fail_file("matrix file is truncated: ", what, " needs ", size, " bytes, ", in.gcount(), " are left");
}

inline file_header read_header(std::istream& in, storage_kind asked_for) {
  file_header header;
  const file_header expected;
  read_exactly(in, &header, sizeof header, "the header");
  if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0)
    fail_file("not a matrix file: it does not start with its magic bytes");
  if (header.header_checksum != header.own_checksum()) fail_file("matrix file is corrupt: the header's checksum does not match");
  if (header.version != expected.version)
    fail_file("matrix file has version ", header.version, ", this library reads version ", expected.version, ": pack it again");
  if (const auto storage = static_cast<std::uint64_t>(asked_for); header.storage != storage)
    fail_file("matrix file holds a matrix of ", storage_name(header.storage), " storage, asked for one of ", storage_name(storage));
  return header;
}

// A file tells how long it is: then a header alone cannot make us allocate.
inline void check_length(std::istream& in, std::uint64_t needed) {
  const auto here = in.tellg();
  if (here == std::istream::pos_type(-1)) return;
  in.seekg(0, std::ios::end);
  const auto end = in.tellg();
  in.seekg(here);
  if (end != std::istream::pos_type(-1) && static_cast<std::uint64_t>(end - here) < needed)
    fail_file("matrix file is truncated: its panels need ", needed, " bytes, ", end - here, " are left");
}

inline void read_payload(std::istream& in, const file_header& header, std::byte* data) {
  read_exactly(in, data, header.payload_bytes, "its panels");
  if (checksum(data, header.payload_bytes) != header.payload_checksum)
    fail_file("matrix file is corrupt: the checksum of its panels does not match");
}

template <block_format F>
weight_shape shape_of(const file_header& header) {
  const weight_shape shape{header.N, header.K};
  if (!is_shape<F>(shape)) fail_file("matrix file is corrupt: its header says ", F::name, " of N = ", header.N, ", K = ", header.K);
  return shape;
}

template <class Matrix>
struct loader;

template <block_format F>
struct loader<packed_matrix<F>> {
  static constexpr storage_kind storage = storage_kind::packed;

  static packed_matrix<F> read(std::istream& in, const file_header& header) {
    const weight_shape shape = shape_of<F>(header);
    const std::size_t expected = packed_matrix<F>::packed_bytes(shape);
    if (header.payload_bytes != expected)
      fail_file("matrix file is corrupt: ", F::name, " of N = ", header.N, ", K = ", header.K, " takes ", expected,
                " bytes, the header says ", header.payload_bytes);
    check_length(in, expected);
    packed_matrix<F> w(shape, not_initialised{});
    read_payload(in, header, w.panel(0));
    return w;
  }
};

template <sparse_format F>
struct loader<sparse_matrix<F>> {
  static constexpr storage_kind storage = storage_kind::sparse;

  static sparse_matrix<F> read(std::istream& in, const file_header& header) {
    const weight_shape shape = shape_of<F>(header);
    check_length(in, header.payload_bytes);
    aligned_buffer buffer(header.payload_bytes);
    read_payload(in, header, buffer.data());
    const std::size_t nonzeros = checked_sparse_panels<F>(shape, buffer);
    return {shape, std::move(buffer), nonzeros};
  }
};

template <class Matrix>
  requires requires { typename Matrix::format; }
Matrix load_matrix(std::istream& in) {
  using F = typename Matrix::format;
  const file_header header = read_header(in, loader<Matrix>::storage);
  if (header.type != F::id.value) fail_file("matrix file holds ggml type ", header.type, ", asked for ", F::name, " (", F::id.value, ")");
  return loader<Matrix>::read(in, header);
}

// By the type that the header names.
template <class Matrix, template <class> class Typed, class... Formats>
Matrix load_any(std::istream& in, format_list<Formats...> formats) {
  const file_header header = read_header(in, loader<Typed<bf16>>::storage);
  const type_id type(header.type);
  if (!contains(type, formats)) fail_file("matrix file holds ggml type ", header.type, ", which is not supported");
  return visit_format(type, [&]<class F>(F) { return Matrix(loader<Typed<F>>::read(in, header)); }, formats);
}
template <std::same_as<any_packed_matrix> Matrix>
Matrix load_matrix(std::istream& in) {
  return load_any<Matrix, packed_matrix>(in, all_formats{});
}
template <std::same_as<any_sparse_matrix> Matrix>
Matrix load_matrix(std::istream& in) {
  return load_any<Matrix, sparse_matrix>(in, sparse_formats{});
}

template <class Matrix>
void save_as(storage_kind storage, const Matrix& w, const std::byte* data, std::ostream& out) {
  file_header header;
  header.type = w.type().value;
  header.N = w.rows();
  header.K = w.cols();
  header.payload_bytes = w.bytes();
  header.payload_checksum = checksum(data, w.bytes());
  header.storage = static_cast<std::uint64_t>(storage);
  header.header_checksum = header.own_checksum();
  out.write(reinterpret_cast<const char*>(&header), sizeof header);
  out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(w.bytes()));
  if (!out.flush()) fail_file("could not write a ", storage_name(header.storage), " matrix of ", w.bytes(), " bytes");
}

}  // namespace detail

// Writes W. Throws std::runtime_error if the stream does not take it.
template <block_format F>
void save(const packed_matrix<F>& w, std::ostream& out) {
  detail::save_as(detail::storage_kind::packed, w, w.panel(0), out);
}
template <sparse_format F>
void save(const sparse_matrix<F>& w, std::ostream& out) {
  detail::save_as(detail::storage_kind::sparse, w, w.data(), out);
}
inline void save(const any_packed_matrix& w, std::ostream& out) {
  w.visit([&](const auto& typed) { save(typed, out); });
}
inline void save(const any_sparse_matrix& w, std::ostream& out) {
  w.visit([&](const auto& typed) { save(typed, out); });
}
template <class Matrix>
void save(const Matrix& w, const std::string& path) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  if (!out) detail::fail_file("cannot open ", path, " for writing");
  save(w, out);
}

// Reads what save() wrote, as Matrix = packed_matrix<F>, any_packed_matrix, sparse_matrix<F> or any_sparse_matrix. Throws
// std::runtime_error for a file that is truncated, foreign, corrupt, or of another type, storage or version. Of a sparse matrix all
// offsets, masks and counts are checked.
template <class Matrix>
Matrix load(std::istream& in) {
  return detail::load_matrix<Matrix>(in);
}
template <class Matrix>
Matrix load(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) detail::fail_file("cannot open ", path);
  return load<Matrix>(in);
}

}  // namespace tegula::inline TEGULA_ABI
