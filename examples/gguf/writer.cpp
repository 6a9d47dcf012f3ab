// See writer.hpp.
#include "writer.hpp"

#include <stdexcept>

#include "ggml_types.hpp"

namespace gguf {
namespace {

template <class T>
void put(std::string& out, T number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void put_text(std::string& out, std::string_view text) {
  put(out, std::uint64_t{text.size()});
  out += text;
}

std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

bool has_layout(const tensor& t) {
  const type_info* const type = find_type(t.type);
  return type != nullptr && type->block_elements != 0;
}

std::uint64_t bytes_of(const tensor& t) {
  const type_info* const type = find_type(t.type);
  return t.dims[0] * t.dims[1] * t.dims[2] * t.dims[3] / type->block_elements * type->block_bytes;
}

}  // namespace

void metadata_writer::start(std::string_view key, value_type type) {
  put_text(bytes_, key);
  put(bytes_, type);
  ++count_;
}

void metadata_writer::copy(const file& from, const metadata& entry) {
  start(entry.key, entry.type);
  const std::span<const std::byte> value = from.value(entry);
  bytes_.append(reinterpret_cast<const char*>(value.data()), value.size());
}

void metadata_writer::add(std::string_view key, std::string_view value) {
  start(key, value_type::string);
  put_text(bytes_, value);
}

void metadata_writer::add(std::string_view key, std::uint32_t value) {
  start(key, value_type::uint32);
  put(bytes_, value);
}

void metadata_writer::add(std::string_view key, float value) {
  start(key, value_type::float32);
  put(bytes_, value);
}

void metadata_writer::add(std::string_view key, std::span<const std::string_view> values) {
  start(key, value_type::array);
  put(bytes_, value_type::string);
  put(bytes_, std::uint64_t{values.size()});
  for (const std::string_view value : values) put_text(bytes_, value);
}

template <class T>
void metadata_writer::add_numbers(std::string_view key, value_type type, std::span<const T> values) {
  start(key, value_type::array);
  put(bytes_, type);
  put(bytes_, std::uint64_t{values.size()});
  for (const T value : values) put(bytes_, value);
}

void metadata_writer::add(std::string_view key, std::span<const std::uint32_t> values) { add_numbers(key, value_type::uint32, values); }
void metadata_writer::add(std::string_view key, std::span<const std::uint64_t> values) { add_numbers(key, value_type::uint64, values); }

writer::writer(const std::string& path, metadata_writer metadata, std::vector<tensor> tensors, std::uint64_t alignment)
    : file_(path), metadata_(std::move(metadata)), tensors_(std::move(tensors)), alignment_(alignment) {
  for (const tensor& t : tensors_) {
    if (!has_layout(t))
      throw error("tensor " + printable(t.name) + ": the layout of " + type_name(t.type) + " is not known, it cannot be copied");
  }
  file_.append(as_bytes(header()));  // its size is right, its numbers come with finish()
  pad();
  data_start_ = file_.size();
  if (!tensors_.empty()) tensors_[0].offset = data_start_;
}

std::string writer::header() const {
  std::string out = "GGUF";
  put(out, std::uint32_t{3});
  put(out, std::uint64_t{tensors_.size()});
  put(out, metadata_.count());
  out += metadata_.bytes();
  for (const tensor& t : tensors_) {
    put_text(out, t.name);
    put(out, t.n_dims);
    for (std::uint32_t i = 0; i < t.n_dims; ++i) put(out, t.dims[i]);
    put(out, t.type);
    put(out, t.offset - data_start_);
  }
  return out;
}

void writer::pad() {
  const std::string zeros(static_cast<std::size_t>((alignment_ - file_.size() % alignment_) % alignment_), '\0');
  file_.append(as_bytes(zeros));
}

void writer::append(std::span<const std::byte> bytes) { file_.append(bytes); }

void writer::end_tensor() {
  tensor& t = current();
  t.bytes = file_.size() - t.offset;
  pad();
  if (++current_ < tensors_.size()) current().offset = file_.size();
}

void writer::finish() {
  if (current_ != tensors_.size()) throw std::logic_error("only " + std::to_string(current_) + " tensors were written");
  for (const tensor& t : tensors_) {
    if (t.bytes != bytes_of(t)) {
      throw std::logic_error("tensor " + printable(t.name) + ": " + std::to_string(t.bytes) + " bytes were written, it has " +
                             std::to_string(bytes_of(t)));
    }
  }
  file_.overwrite(0, as_bytes(header()));
  file_.finish();
}

}  // namespace gguf
