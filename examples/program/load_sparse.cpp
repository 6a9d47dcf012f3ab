// See load_sparse.hpp.
#include "load_sparse.hpp"

#include <tegula/pack/serialize.hpp>

#include <istream>
#include <stdexcept>
#include <streambuf>

namespace program {
namespace {

// Bytes in memory as the source of a stream that knows its length.
class memory_buffer : public std::streambuf {
 public:
  explicit memory_buffer(std::span<const std::byte> bytes) {
    char* const first = const_cast<char*>(reinterpret_cast<const char*>(bytes.data()));  // a get area is not written to
    setg(first, first, first + bytes.size());
  }

 protected:
  pos_type seekoff(off_type offset, std::ios_base::seekdir from, std::ios_base::openmode) override {
    const off_type size = egptr() - eback();
    const off_type to = offset + (from == std::ios_base::beg ? 0 : from == std::ios_base::cur ? gptr() - eback() : size);
    if (to < 0 || to > size) return pos_type(off_type(-1));
    setg(eback(), eback() + to, egptr());
    return to;
  }
  pos_type seekpos(pos_type to, std::ios_base::openmode mode) override { return seekoff(to, std::ios_base::beg, mode); }
};

std::string text_of(std::uint64_t type, std::uint64_t N, std::uint64_t K) {
  return std::to_string(N) + " x " + std::to_string(K) + " of type " + std::to_string(type);
}

}  // namespace

tegula::any_sparse_matrix load_sparse(const gguf::file& file, const gguf::sparse_matrix& m) try {
  memory_buffer buffer({file.data(*m.stored), static_cast<std::size_t>(m.stored->bytes)});
  std::istream in(&buffer);
  auto w = tegula::load<tegula::any_sparse_matrix>(in);
  const std::string found = text_of(w.type().value, static_cast<std::uint64_t>(w.rows()), static_cast<std::uint64_t>(w.cols()));
  const std::string listed = text_of(m.type, m.rows, m.columns);
  if (found != listed) throw std::runtime_error("holds " + found + ", is listed as " + listed);
  if (in.peek() != std::istream::traits_type::eof()) throw std::runtime_error("has more bytes than its matrix");
  return w;
} catch (const std::exception& problem) {
  throw std::runtime_error(gguf::printable(m.name) + ": " + problem.what());
}

}  // namespace program
