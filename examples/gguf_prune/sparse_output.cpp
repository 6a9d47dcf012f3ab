// See sparse_output.hpp.
#include "sparse_output.hpp"

#include <ostream>
#include <streambuf>

namespace gguf_prune {
namespace {

// A stream into a sink.
class sink_buffer : public std::streambuf {
 public:
  explicit sink_buffer(const byte_sink& take) : take_(take) {}

 protected:
  std::streamsize xsputn(const char* text, std::streamsize count) override {
    take_(std::as_bytes(std::span(text, static_cast<std::size_t>(count))));
    return count;
  }
  int_type overflow(int_type character) override {
    const char text = traits_type::to_char_type(character);
    return traits_type::eq_int_type(character, traits_type::eof()) ? traits_type::not_eof(character) : (xsputn(&text, 1), character);
  }

 private:
  const byte_sink& take_;
};

}  // namespace

double write_sparse(const plan& p, std::span<const std::byte> rows, tg::thread_pool& pool, const byte_sink& take) {
  const gguf::tensor& t = *p.tensor;
  const tg::weight_shape shape{.N = static_cast<tg::index_t>(t.dims[1]), .K = static_cast<tg::index_t>(t.dims[0])};
  const tg::any_sparse_matrix compressed = tg::compress(p.stored, rows.data(), shape, pool);
  sink_buffer buffer(take);
  std::ostream out(&buffer);
  out.exceptions(std::ios::badbit);  // what the sink throws comes through
  tg::save(compressed, out);
  return compressed.density();
}

}  // namespace gguf_prune
