// The GGUF header, read and checked in file order: fixed part, metadata, tensor list, then the tensors against the file.
#include "gguf.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "gguf_cursor.hpp"

namespace gguf {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read as they lie in the file");

// Far above any real model, and small enough that the lists of a hostile file stay below 8 MB.
constexpr std::uint64_t max_count = 65'536;
// The specification says 64 for a tensor name and 65,535 for a key; some writers use longer tensor names.
constexpr std::uint64_t max_tensor_name = 255;
constexpr std::uint64_t max_key = 65'535;
constexpr std::uint64_t max_alignment = 1U << 20;
constexpr unsigned max_array_depth = 4;

// The fewest bytes an entry can take: length and a one-byte name, then type and a one-byte value, or (tensors) the
// number of dimensions, type and offset. Counts are checked against these before anything is reserved.
constexpr std::uint64_t min_metadata_bytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t min_tensor_bytes = 8 + 1 + 4 + 4 + 8;

constexpr std::array<std::uint8_t, 13> value_bytes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};  // 0: of no fixed size

value_type read_value_type(cursor& in) {
  const auto number = in.number<std::uint32_t>("the value's type");
  if (number >= value_bytes.size()) in.fail("value type " + number_text(number) + ", known are 0 to 12");
  return static_cast<value_type>(number);
}

// Checks that `count` values of a type lie in the file, and passes them.
void skip_values(cursor& in, value_type type, std::uint64_t count, unsigned depth) {
  if (type == value_type::string) {
    // Each string takes at least the 8 bytes of its length, so a wrong count ends at the end of the file.
    for (std::uint64_t i = 0; i < count; ++i) in.text(std::numeric_limits<std::uint64_t>::max(), "a string");
  } else if (type == value_type::array) {
    if (depth == max_array_depth) in.fail("arrays nested deeper than " + number_text(max_array_depth));
    for (std::uint64_t i = 0; i < count; ++i) {
      const value_type element = read_value_type(in);
      skip_values(in, element, in.number<std::uint64_t>("an array's length"), depth + 1);
    }
  } else {
    const std::byte* const values = in.take(count, value_bytes[static_cast<std::size_t>(type)], "the value");
    if (type == value_type::boolean && std::any_of(values, values + count, [](std::byte b) { return std::to_integer<unsigned>(b) > 1; })) {
      in.fail("a boolean that is neither 0 nor 1");
    }
  }
}

std::uint64_t read_count(cursor& in, std::uint64_t min_bytes, const char* what) {
  const auto count = in.number<std::uint64_t>(what);
  if (count > max_count || count > in.remaining() / min_bytes) {
    in.fail(std::string(what) + " is " + number_text(count) + "; " + number_text(in.remaining()) +
            " bytes remain for entries of at least " + number_text(min_bytes) + ", and at most " + number_text(max_count) + " are read");
  }
  return count;
}

// `list` has a member that `key_of` gives; throws when two are equal. Sorts indices of 4 bytes, not entries.
template <class List, class KeyOf>
void check_unique(const cursor& in, const List& list, const char* what, KeyOf key_of) {
  std::vector<std::uint32_t> order(list.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return key_of(list[a]) < key_of(list[b]); });
  const auto twin =
      std::adjacent_find(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return key_of(list[a]) == key_of(list[b]); });
  if (twin != order.end()) {
    in.fail(std::string(what) + " \"" + printable(key_of(list[*twin])) + "\" is used twice, by entries " +
            number_text(std::min(twin[0], twin[1])) + " and " + number_text(std::max(twin[0], twin[1])));
  }
}

metadata read_metadata(cursor& in, std::uint64_t index) {
  in.enter("metadata entry", index);
  metadata entry;
  entry.key = in.text(max_key, "the key");
  if (entry.key.empty()) in.fail("the key is empty");
  in.named(entry.key);
  entry.type = read_value_type(in);
  entry.offset = in.position();
  skip_values(in, entry.type, 1, 0);
  entry.bytes = in.position() - entry.offset;
  return entry;
}

// The size of a tensor's data, when its type's layout is known; checks the shape on the way.
std::uint64_t checked_bytes(const cursor& in, const tensor& t) {
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < t.n_dims; ++i) {
    if (t.dims[i] == 0) in.fail("dimension " + number_text(i) + " is 0");
    if (t.dims[i] > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / elements) {
      in.fail("the number of elements overflows at dimension " + number_text(i) + ", " + number_text(t.dims[i]));
    }
    elements *= t.dims[i];
  }
  const type_info* const type = find_type(t.type);
  if (type == nullptr || type->block_elements == 0) return 0;
  if (t.dims[0] % type->block_elements != 0) {
    in.fail("a row has " + number_text(t.dims[0]) + " elements, not a multiple of the block of " + number_text(type->block_elements) +
            " of " + std::string(type->name));
  }
  const std::uint64_t blocks = elements / type->block_elements;
  if (blocks > std::numeric_limits<std::uint64_t>::max() / type->block_bytes) in.fail("the size in bytes overflows");
  return blocks * type->block_bytes;
}

tensor read_tensor(cursor& in, std::uint64_t index) {
  in.enter("tensor", index);
  tensor t;
  t.name = in.text(max_tensor_name, "the tensor's name");
  if (t.name.empty()) in.fail("the tensor's name is empty");
  in.named(t.name);
  t.n_dims = in.number<std::uint32_t>("the number of dimensions");
  if (t.n_dims > t.dims.size()) in.fail(number_text(t.n_dims) + " dimensions, at most 4 are allowed");
  for (std::uint32_t i = 0; i < t.n_dims; ++i) t.dims[i] = in.number<std::uint64_t>("a dimension");
  t.type = in.number<std::uint32_t>("the tensor's type");
  t.offset = in.number<std::uint64_t>("the tensor's offset");
  t.bytes = checked_bytes(in, t);
  return t;
}

// Turns offsets, which the file counts from the start of its data, into offsets in the file.
void place_tensor(cursor& in, tensor& t, std::uint64_t index, std::uint64_t alignment, std::uint64_t data_start, std::uint64_t file_bytes) {
  in.enter("tensor", index);
  in.named(t.name);
  if (t.offset % alignment != 0) {
    in.fail("offset " + number_text(t.offset) + " is not a multiple of the alignment " + number_text(alignment));
  }
  const std::uint64_t data_bytes = file_bytes > data_start ? file_bytes - data_start : 0;
  if (t.offset > data_bytes || t.bytes > data_bytes - t.offset) {
    in.fail("the file is cut short or lies: " + number_text(t.bytes) + " bytes of " + type_name(t.type) + " at offset " +
            number_text(t.offset) + " of the data, which starts at byte " + number_text(data_start) + " and has " +
            number_text(data_bytes) + " bytes");
  }
  t.offset += data_start;
}

void check_no_overlap(cursor& in, const std::vector<tensor>& tensors) {
  std::vector<std::uint32_t> order(tensors.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return tensors[a].offset < tensors[b].offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const tensor& before = tensors[order[i - 1]];
    const tensor& after = tensors[order[i]];
    if (before.bytes <= after.offset - before.offset) continue;
    in.enter("tensor", order[i]);
    in.named(after.name);
    in.fail_at(after.offset, "overlaps tensor \"" + printable(before.name) + "\", " + number_text(before.bytes) + " bytes from byte " +
                                 number_text(before.offset));
  }
}

std::uint32_t read_fixed_header(cursor& in) {
  if (std::memcmp(in.take(4, 1, "the magic number"), "GGUF", 4) != 0) {
    in.fail_at(0, "not a GGUF file: it does not start with \"GGUF\"");
  }
  const auto version = in.number<std::uint32_t>("the version");
  if (version == 2 || version == 3) return version;
  if (version != 0 && version % 0x10000 == 0) in.fail("a big-endian GGUF file; convert it to little-endian");
  in.fail("GGUF version " + number_text(version) + "; versions 2 and 3 are read");
}

}  // namespace

file::file(const std::string& path) : mapping_(path) {
  try {
    read_header();
  } catch (const error& problem) {
    throw error(path + ": " + problem.what());
  }
}

void file::read_header() {
  cursor in(mapping_);
  version_ = read_fixed_header(in);
  const std::uint64_t n_tensors = read_count(in, min_tensor_bytes, "the number of tensors");
  const std::uint64_t n_entries = read_count(in, min_metadata_bytes, "the number of metadata entries");

  entries_.reserve(static_cast<std::size_t>(n_entries));
  for (std::uint64_t i = 0; i < n_entries; ++i) entries_.push_back(read_metadata(in, i));
  check_unique(in, entries_, "key", [](const metadata& entry) { return entry.key; });
  if (const metadata* const entry = find("general.alignment")) {
    if (entry->type != value_type::uint32) in.fail_at(entry->offset, "general.alignment is not a 32-bit unsigned number");
    alignment_ = *number("general.alignment");
    if (!std::has_single_bit(alignment_) || alignment_ > max_alignment) {
      in.fail_at(entry->offset,
                 "general.alignment is " + number_text(alignment_) + ", not a power of two of at most " + number_text(max_alignment));
    }
  }

  tensors_.reserve(static_cast<std::size_t>(n_tensors));
  for (std::uint64_t i = 0; i < n_tensors; ++i) tensors_.push_back(read_tensor(in, i));
  check_unique(in, tensors_, "name", [](const tensor& t) { return t.name; });

  const std::uint64_t data_start = (in.position() + alignment_ - 1) / alignment_ * alignment_;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    place_tensor(in, tensors_[i], i, alignment_, data_start, size());
  }
  check_no_overlap(in, tensors_);
}

const metadata* file::find(std::string_view key) const noexcept {
  const auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const metadata& e) { return e.key == key; });
  return entry != entries_.end() ? &*entry : nullptr;
}

std::optional<std::string_view> file::text(std::string_view key) const {
  const metadata* const entry = find(key);
  if (entry == nullptr || entry->type != value_type::string) return std::nullopt;
  std::uint64_t length = 0;
  std::memcpy(&length, mapping_.data() + entry->offset, sizeof length);
  return std::string_view(reinterpret_cast<const char*>(mapping_.data() + entry->offset + sizeof length), static_cast<std::size_t>(length));
}

std::optional<std::uint64_t> file::number(std::string_view key) const {
  const metadata* const entry = find(key);
  if (entry == nullptr) return std::nullopt;
  switch (entry->type) {
    case value_type::uint8:
    case value_type::uint16:
    case value_type::uint32:
    case value_type::uint64: break;
    default: return std::nullopt;
  }
  std::uint64_t value = 0;
  std::memcpy(&value, mapping_.data() + entry->offset, value_bytes[static_cast<std::size_t>(entry->type)]);
  return value;
}

std::optional<array_view> file::array(std::string_view key) const {
  const metadata* const entry = find(key);
  if (entry == nullptr || entry->type != value_type::array) return std::nullopt;
  const std::span<const std::byte> bytes = value(*entry);
  array_view result;
  std::memcpy(&result.element, bytes.data(), sizeof result.element);
  std::memcpy(&result.count, bytes.data() + sizeof result.element, sizeof result.count);
  result.bytes = bytes.subspan(sizeof result.element + sizeof result.count);
  return result;
}

std::span<const std::byte> file::value(const metadata& entry) const noexcept {
  return {mapping_.data() + entry.offset, static_cast<std::size_t>(entry.bytes)};
}

std::string printable(std::string_view name) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7e) {
      out += c;
    } else {
      out += {'\\', 'x', digits[byte / 16], digits[byte % 16]};
    }
  }
  return out;
}

}  // namespace gguf
