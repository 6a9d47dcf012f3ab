// save and load: what was written comes back; a file that is truncated, foreign, corrupt, of another type or version is a clear error.
#include <tegula/pack/serialize.hpp>

#include <cstdio>
#include <cstring>
#include <sstream>

#include "../support/catch.hpp"
#include "../support/runner.hpp"
#include "../support/serialized.hpp"

using namespace tests;

namespace {

using any = tg::any_packed_matrix;

any example(const block_info& type, tg::index_t N = 19) {
  const tg::index_t K = type.block_k == 1 ? 21 : 2 * type.block_k;
  return pack(type, random_blocks(type, N, K, 5).data(), N, K);
}

// A header with a field changed and its own checksum made right again: what only an unkind writer produces.
template <class Change>
std::string forged(std::string file, Change change) {
  tg::detail::file_header header;
  std::memcpy(static_cast<void*>(&header), file.data(), sizeof header);
  change(header);
  header.header_checksum = header.own_checksum();
  std::memcpy(file.data(), &header, sizeof header);
  return file;
}

// The stream of a pipe: it cannot tell how long it is.
class unseekable : public std::stringbuf {
 public:
  using std::stringbuf::stringbuf;

 protected:
  pos_type seekoff(off_type, std::ios_base::seekdir, std::ios_base::openmode) override { return pos_type(off_type(-1)); }
  pos_type seekpos(pos_type, std::ios_base::openmode) override { return pos_type(off_type(-1)); }
};

// A stream that takes no more than so many bytes.
class full_disk : public std::streambuf {
 public:
  explicit full_disk(std::streamsize room) : room_(room) {}

 protected:
  std::streamsize xsputn(const char*, std::streamsize n) override {
    return std::min(n, std::exchange(room_, std::max<std::streamsize>(0, room_ - n)));
  }
  int_type overflow(int_type c) override { return room_-- > 0 ? c : traits_type::eof(); }

 private:
  std::streamsize room_;
};

}  // namespace

TEST_CASE("save and load give the same matrix", "[serialize]") {
  for (const block_info& type : all_types()) {
    const any w = example(type);
    const std::string file = saved(w);
    CHECK(file.size() == 64 + w.bytes());
    const any back = loaded<any>(file);
    CHECK((back.rows() == w.rows() && back.cols() == w.cols() && back.type() == w.type()));
    CHECK(saved(back) == file);
    w.visit([&]<class F>(const tg::packed_matrix<F>& typed) {
      std::stringstream stream;
      tg::save(typed, stream);
      CHECK(saved(tg::load<tg::packed_matrix<F>>(stream)) == file);
    });
    CHECK(saved(loaded<any>(saved(example(type, 0)))) == saved(example(type, 0)));
    unseekable pipe(file);
    std::istream in(&pipe);
    CHECK(saved(tg::load<any>(in)) == file);
  }
}

TEST_CASE("save and load by path", "[serialize]") {
  const any w = example(info_of(tg::q5_k::id));
  const std::string path = "tegula-serialize-test.bin";
  tg::save(w, path);
  CHECK(saved(tg::load<any>(path)) == saved(w));
  CHECK(saved(tg::load<tg::packed_matrix<tg::q5_k>>(path)) == saved(w));
  std::remove(path.c_str());
  check_names(message_of<std::runtime_error>([&] { tg::load<any>(path); }), {"cannot open", path.c_str()});
  check_names(message_of<std::runtime_error>([&] { tg::save(w, "/nowhere/at/all"); }), {"cannot open", "/nowhere/at/all"});
}

TEST_CASE("several matrices in one stream", "[serialize]") {
  std::stringstream stream;
  for (const block_info& type : all_types()) tg::save(example(type), stream);
  for (const block_info& type : all_types()) CHECK(saved(tg::load<any>(stream)) == saved(example(type)));
}

TEST_CASE("a truncated file", "[serialize][errors]") {
  for (const block_info& type : all_types()) {
    const std::string file = saved(example(type));
    for (std::size_t size = 0; size < file.size(); size += size < 80 ? 1 : 97) {
      const std::string message = message_of<std::runtime_error>([&] { loaded<any>(file.substr(0, size)); });
      INFO(size << " bytes left");
      check_names(message, {"truncated", size < 64 ? "64" : std::to_string(file.size() - 64).c_str(),
                            std::to_string(size < 64 ? size : size - 64).c_str()});
    }
    unseekable pipe(file.substr(0, file.size() - 1));
    std::istream in(&pipe);
    check_names(message_of<std::runtime_error>([&] { tg::load<any>(in); }), {"truncated"});
  }
}

TEST_CASE("a corrupt file", "[serialize][errors]") {
  const std::string file = saved(example(info_of(tg::q4_k::id)));
  for (std::size_t at = 0; at < file.size(); at += at < 64 ? 1 : 131)
    for (const int flip : {1, 0x80}) {
      std::string bad = file;
      bad[at] = static_cast<char>(bad[at] ^ flip);
      INFO("byte " << at);
      check_names(message_of<std::runtime_error>([&] { loaded<any>(bad); }), {at < 8    ? "not a matrix file"
                                                                              : at < 64 ? "the header's checksum"
                                                                                        : "checksum of its panels"});
    }
}

TEST_CASE("a foreign file", "[serialize][errors]") {
  check_names(message_of<std::runtime_error>([] { loaded<any>("GGUF" + std::string(1000, 'x')); }), {"not a matrix file", "magic"});
  check_names(message_of<std::runtime_error>([] { loaded<any>(std::string(64, '\0')); }), {"not a matrix file"});
  check_names(message_of<std::runtime_error>([] { loaded<any>(""); }), {"truncated", "64 bytes, 0 are left"});
}

TEST_CASE("another type, another version", "[serialize][errors]") {
  const std::string file = saved(example(info_of(tg::q4_k::id)));
  std::istringstream in(file);
  check_names(message_of<std::runtime_error>([&] { tg::load<tg::packed_matrix<tg::q6_k>>(in); }), {"type 12", "q6_k", "14"});
  check_names(message_of<std::runtime_error>([&] { loaded<any>(forged(file, [](auto& h) { h.version = 7; })); }),
              {"version 7", "version 4", "pack it again"});
}

// A header that lies with a right checksum must not make us allocate what is not there.
TEST_CASE("a header that lies", "[serialize][errors]") {
  const std::string file = saved(example(info_of(tg::q4_k::id)));
  const auto fails = [&](auto change) {
    try {
      loaded<any>(forged(file, change));
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
    return std::string("no exception");
  };
  check_names(fails([](auto& h) { h.type = 77; }), {"77"});
  check_names(fails([](auto& h) { h.N = -1; }), {"-1"});
  check_names(fails([](auto& h) { h.K = 100; }), {"100"});
  check_names(fails([](auto& h) { h.N = 1000; }), {"1000", "corrupt"});
  check_names(fails([](auto& h) { h.payload_bytes += 64; }), {"corrupt"});
  // Sizes whose bytes do not fit 64 bits.
  check_names(fails([](auto& h) {
                h.type = tg::f32::id.value;
                h.N = h.K = tg::index_t{1} << 31;
                h.payload_bytes = 0;
              }),
              {"corrupt", "2147483648"});
  check_names(fails([](auto& h) { h.payload_checksum ^= 1; }), {"checksum of its panels"});
  check_names(fails([](auto& h) {
                h.N = h.K = tg::index_t{1} << 30;
                h.payload_bytes = tg::packed_matrix<tg::q4_k>::packed_bytes({h.N, h.K});
              }),
              {"truncated"});
}

TEST_CASE("a disk that is full", "[serialize][errors]") {
  const any w = example(info_of(tg::q8_0::id));
  for (const std::streamsize room : {0, 10, 64, 100}) {
    full_disk disk(room);
    std::ostream out(&disk);
    check_names(message_of<std::runtime_error>([&] { tg::save(w, out); }), {"could not write", std::to_string(w.bytes()).c_str()});
  }
}
