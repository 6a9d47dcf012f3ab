// host_tool: the steps of the emulator's `setup` and `run` that need more than a shell. It makes the
// images that Bochs loads into the guest's memory and separates what comes out of the guest.
//
//   host_tool kernel-payload VMLINUZ              the LZ4-compressed kernel in a bzImage, to stdout
//   host_tool kernel-image VMLINUX OUT            flat memory image; prints the entry address
//   host_tool boot-image OUT MIB INITRD_BYTES ENTRY COMMAND_LINE
//   host_tool initrd OUT INIT [-e NAME=VALUE]... [-f PATH | -f GUEST=HOST]... [--deny-amx]
//                    -- PROGRAM [ARGS...] [--next PROGRAM [ARGS...]]...
//   host_tool output STATUS                       Bochs' stdout (stdin) to the programs' stdout, stderr
//
// It does not start Bochs and knows no user options: see `run`. Exit code: 0, or 125 with a message.
//
// The guest's memory, as boot_rom.S, host_tool and `run` agree on it (there is no BIOS, boot loader
// or disk: all is in RAM when the virtual CPU comes out of reset):
//
//   0x00001000  page tables: the first 4 GiB, identity mapped by 2 MiB pages
//   0x00007000  struct boot_params (the kernel's "zero page")
//   0x00008000  kernel command line, NUL-terminated
//   0x00008ff8  entry address of the kernel (32 bits)
//   0x01000000  kernel, uncompressed
//   0x08000000  initrd: init and the programs, a cpio archive

#include <asm/bootparam.h>
#include <elf.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;
using arguments = std::vector<std::string>;

constexpr std::uint64_t page_tables_address = 0x1000;
constexpr std::uint64_t boot_params_address = 0x7000;
constexpr std::uint64_t command_line_address = 0x8000;
constexpr std::uint64_t kernel_entry_address = 0x8ff8;
constexpr std::uint64_t boot_image_end = 0x9000;
constexpr std::uint64_t kernel_address = 0x0100'0000;
constexpr std::uint64_t initrd_address = 0x0800'0000;

[[noreturn]] void fail(const std::string& message) { throw std::runtime_error(message); }

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path)) fail("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// A struct at a byte offset of a file, checked against the file's end.
template <class T>
T read_struct(const std::string& bytes, std::uint64_t offset, const std::string& path) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
    fail(path + ": ends at byte " + std::to_string(bytes.size()) + ", a header at byte " + std::to_string(offset) + " is missing");
  }
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// ---- kernel ---------------------------------------------------------------------------------

// Debian 12's cloud kernels are compressed by LZ4 (legacy frames). The last 4 bytes of the payload are
// its uncompressed size, which lz4 would take for a damaged frame.
void kernel_payload(const std::string& path) {
  const std::string image = read_file(path);
  const auto header = read_struct<setup_header>(image, 0x1f1, path);
  if (header.header != 0x53726448) fail(path + ": not a Linux bzImage (no HdrS signature)");
  const std::uint64_t sectors = header.setup_sects != 0 ? header.setup_sects : 4;
  const std::uint64_t begin = (sectors + 1) * 512 + header.payload_offset;
  if (begin + header.payload_length > image.size() || header.payload_length < 4) {
    fail(path + ": truncated: the kernel should end at byte " + std::to_string(begin + header.payload_length));
  }
  const std::string_view payload(image.data() + begin, header.payload_length - 4);
  if (!payload.starts_with("\x02\x21\x4c\x18")) {
    fail(path + ": the kernel inside is not compressed by LZ4");
  }
  std::cout.write(payload.data(), static_cast<std::streamsize>(payload.size()));
}

std::vector<Elf64_Phdr> program_headers(const std::string& elf, const std::string& path) {
  if (!elf.starts_with(ELFMAG)) fail(path + ": not an ELF file");
  const auto header = read_struct<Elf64_Ehdr>(elf, 0, path);
  if (header.e_machine != EM_X86_64) {
    fail(path + ": not an x86-64 program (ELF machine " + std::to_string(header.e_machine) + ")");
  }
  std::vector<Elf64_Phdr> headers;
  for (unsigned n = 0; n < header.e_phnum; ++n) {
    headers.push_back(read_struct<Elf64_Phdr>(elf, header.e_phoff + n * sizeof(Elf64_Phdr), path));
  }
  return headers;
}

// Lays out the loadable segments by physical address. The memory after them (.bss) is zero already.
void kernel_image(const std::string& path, const std::string& out_path) {
  const std::string elf = read_file(path);
  std::string image;
  for (const Elf64_Phdr& segment : program_headers(elf, path)) {
    if (segment.p_type != PT_LOAD) continue;
    const std::uint64_t end = segment.p_paddr + segment.p_memsz;
    if (segment.p_paddr < kernel_address || end > initrd_address) {
      fail(path + ": a segment lies outside of 16 to 128 MiB");
    }
    if (segment.p_offset + segment.p_filesz > elf.size()) fail(path + ": truncated");
    const std::uint64_t offset = segment.p_paddr - kernel_address;
    if (image.size() < offset + segment.p_filesz) image.resize(offset + segment.p_filesz);
    std::memcpy(image.data() + offset, elf.data() + segment.p_offset, segment.p_filesz);
  }
  std::ofstream out(out_path, std::ios::binary);
  out.write(image.data(), static_cast<std::streamsize>(image.size()));
  if (!out.flush()) fail("cannot write " + out_path);
  std::printf("0x%llx\n", static_cast<unsigned long long>(read_struct<Elf64_Ehdr>(elf, 0, path).e_entry));
}

// ---- boot image: the first 36 KiB of RAM ------------------------------------------------------

template <class T>
void put(std::string& image, std::uint64_t address, const T& value) {
  std::memcpy(image.data() + address, &value, sizeof value);
}

void put_page_tables(std::string& image) {
  constexpr std::uint64_t present_writable = 0x3, large_page = 0x80, page = 0x1000;
  constexpr std::uint64_t pointers = page_tables_address + page, directories = pointers + page;
  put(image, page_tables_address, pointers | present_writable);
  for (std::uint64_t gib = 0; gib < 4; ++gib) {
    put(image, pointers + 8 * gib, (directories + gib * page) | present_writable);
  }
  for (std::uint64_t n = 0; n < 4 * 512; ++n) {
    put(image, directories + 8 * n, (n << 21) | large_page | present_writable);
  }
}

boot_params make_boot_params(std::uint64_t memory_mib, std::uint32_t initrd_bytes) {
  constexpr std::uint32_t usable = 1, reserved = 2;
  boot_params params{};
  params.hdr.boot_flag = 0xaa55;
  params.hdr.header = 0x53726448;  // "HdrS"
  params.hdr.version = 0x20f;
  params.hdr.type_of_loader = 0xff;  // unknown boot loader
  params.hdr.loadflags = LOADED_HIGH;
  params.hdr.ramdisk_image = initrd_address;
  params.hdr.ramdisk_size = initrd_bytes;
  params.hdr.cmd_line_ptr = command_line_address;
  params.hdr.initrd_addr_max = 0x7fff'ffff;
  params.hdr.kernel_alignment = 0x20'0000;
  params.hdr.cmdline_size = 2047;
  params.e820_entries = 3;
  params.e820_table[0] = {0, 0x9f000, usable};
  params.e820_table[1] = {0x9f000, 0x61000, reserved};  // VGA and the boot ROM
  params.e820_table[2] = {0x100000, (memory_mib << 20) - 0x100000, usable};
  return params;
}

void boot_image(const arguments& args) {
  const std::string &out_path = args[0], &command_line = args[4];
  if (command_line.size() > 2047) {
    fail("the kernel command line has " + std::to_string(command_line.size()) + " characters, 2047 is the most");
  }
  const auto initrd_bytes = static_cast<std::uint32_t>(std::stoul(args[2]));
  std::string image(boot_image_end, '\0');
  put_page_tables(image);
  put(image, boot_params_address, make_boot_params(std::stoull(args[1]), initrd_bytes));
  std::memcpy(image.data() + command_line_address, command_line.data(), command_line.size());
  put(image, kernel_entry_address, static_cast<std::uint32_t>(std::stoul(args[3], nullptr, 0)));
  std::ofstream out(out_path, std::ios::binary);
  out.write(image.data(), static_cast<std::streamsize>(image.size()));
  if (!out.flush()) fail("cannot write " + out_path);
}

// ---- initrd -----------------------------------------------------------------------------------

// Writes a cpio archive in the "newc" format, the one the kernel unpacks into its root file system.
class cpio_writer {
 public:
  explicit cpio_writer(const std::string& path) : path_(path), out_(path, std::ios::binary) {}

  void add_directory(const fs::path& path) {
    if (path.empty() || !directories_.insert(path.string()).second) return;
    add_directory(path.parent_path());
    add_entry(path.string(), S_IFDIR | 0755, {});
  }

  void add_file(const fs::path& path, std::string_view content, unsigned mode) {
    add_directory(path.parent_path());
    add_entry(path.string(), S_IFREG | mode, content);
  }

  void add_character_device(const fs::path& path, unsigned major, unsigned minor) {
    add_directory(path.parent_path());
    add_entry(path.string(), S_IFCHR | 0600, {}, major, minor);
  }

  void finish() {
    add_entry("TRAILER!!!", 0, {});
    if (!out_.flush()) fail("cannot write " + path_ + " (is the disk full?)");
  }

 private:
  void add_entry(const std::string& name, unsigned mode, std::string_view content, unsigned device_major = 0, unsigned device_minor = 0) {
    if (content.size() > 0x7fff'ffff) fail(name + ": larger than 2 GiB");
    char header[111];
    std::snprintf(header, sizeof header, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
                  /*inode*/ ++entries_, mode, /*uid*/ 0, /*gid*/ 0, /*links*/ 1, /*mtime*/ 0, static_cast<unsigned>(content.size()),
                  /*device*/ 0, 0, device_major, device_minor, static_cast<unsigned>(name.size() + 1), /*checksum*/ 0);
    write(std::string(header) + name + '\0');
    write(content);
  }

  // Names and contents are each padded to a multiple of 4 bytes.
  void write(std::string_view bytes) {
    out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out_.write("\0\0\0", static_cast<std::streamsize>(-bytes.size() & 3));
  }

  std::string path_;
  std::ofstream out_;
  std::set<std::string> directories_;
  unsigned entries_ = 0;
};

void add_host_file(cpio_writer& archive, const fs::path& guest, const fs::path& host) {
  const auto mode = static_cast<unsigned>(fs::status(host).permissions()) & 0777;
  archive.add_file(guest, read_file(host.string()), mode | 0400);
}

// PATH puts a file or a folder at its own absolute path; GUEST=HOST puts it elsewhere.
void add_host_path(cpio_writer& archive, const std::string& option) {
  const auto equals = option.find('=');
  const fs::path host = equals == std::string::npos ? option : option.substr(equals + 1);
  const fs::path named = equals == std::string::npos ? fs::absolute(host) : fs::path(option.substr(0, equals));
  const fs::path guest = ("/" / named).lexically_normal().relative_path();
  if (!fs::exists(host)) fail("--file " + option + ": there is no " + host.string());
  if (!fs::is_directory(host)) return add_host_file(archive, guest, host);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(host)) {
    if (!entry.is_regular_file()) continue;
    add_host_file(archive, guest / fs::relative(entry.path(), host), entry.path());
  }
}

// The guest has no dynamic loader: a program that needs one would end in a puzzling "No such file".
std::string read_static_program(const std::string& path) {
  const std::string elf = read_file(path);
  for (const Elf64_Phdr& segment : program_headers(elf, path)) {
    if (segment.p_type == PT_INTERP) fail(path + ": is dynamically linked; link it with -static");
  }
  return elf;
}

std::string joined_by_nul(arguments::const_iterator begin, arguments::const_iterator end) {
  std::string joined;
  for (; begin != end; ++begin) joined += *begin + '\0';
  return joined;
}

// What init.c expects: /job/environment, /job/deny_amx if wanted, /job/<n>/{program,arguments}.
void initrd(const arguments& args) {
  cpio_writer archive(args[0]);
  archive.add_character_device("dev/console", 5, 1);
  archive.add_file("init", read_file(args[1]), 0755);
  arguments environment;
  std::size_t n = 2;
  for (; n < args.size() && args[n] != "--"; ++n) {
    if (args[n] == "--deny-amx") archive.add_file("job/deny_amx", {}, 0444);
    else if (n + 1 == args.size()) fail("initrd: " + args[n] + " needs a value");
    else if (args[n] == "-e") environment.push_back(args[++n]);
    else if (args[n] == "-f") add_host_path(archive, args[++n]);
    else fail("initrd: unknown option " + args[n]);
  }
  archive.add_file("job/environment", joined_by_nul(environment.begin(), environment.end()), 0444);
  auto begin = args.begin() + static_cast<std::ptrdiff_t>(std::min(n + 1, args.size()));
  for (int job = 0; begin != args.end(); ++job) {
    const auto end = std::find(begin, args.end(), "--next");
    if (begin == end) fail("--next: no program follows");
    const fs::path folder = "job/" + std::to_string(job);
    archive.add_file(folder / "program", read_static_program(*begin), 0755);
    archive.add_file(folder / "arguments", joined_by_nul(begin, end), 0444);
    begin = end == args.end() ? end : end + 1;
    if (end != args.end() && begin == args.end()) fail("--next: no program follows");
  }
  archive.finish();
}

// ---- output -----------------------------------------------------------------------------------

// Reads the records that init.c writes (see there) and gives each program's bytes to stdout or
// stderr unchanged. All other records go to the status file, which `run` reads at the end. Text of
// Bochs itself (its banner, before "@boot") is dropped.
void forward_output(const std::string& status_path) {
  std::ofstream status(status_path);
  std::string line, bytes;
  for (bool booted = false; std::getline(std::cin, line);) {
    booted = booted || line.starts_with("@boot ");
    if (!booted) continue;
    int stream = 0;
    std::size_t size = 0;
    if (std::sscanf(line.c_str(), "@output %d %zu", &stream, &size) != 2) {
      status << line << std::endl;
      continue;
    }
    bytes.resize(size + 1);  // and the newline that ends the record
    if (!std::cin.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) break;
    std::FILE* const out = stream == 2 ? stderr : stdout;
    std::fwrite(bytes.data(), 1, size, out);
    std::fflush(out);
  }
  if (!status.flush()) fail("cannot write " + status_path);
}

void dispatch(const std::string& command, const arguments& args) {
  const std::size_t count = args.size();
  if (command == "kernel-payload" && count == 1) return kernel_payload(args[0]);
  if (command == "kernel-image" && count == 2) return kernel_image(args[0], args[1]);
  if (command == "boot-image" && count == 5) return boot_image(args);
  if (command == "initrd" && count >= 4) return initrd(args);
  if (command == "output" && count == 1) return forward_output(args[0]);
  fail("wrong usage: " + command + " with " + std::to_string(count) + " arguments; see host_tool.cpp");
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  try {
    const arguments args(argv + 1, argv + argc);
    if (args.empty()) fail("no command given; see host_tool.cpp");
    dispatch(args[0], {args.begin() + 1, args.end()});
    std::cout.flush();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "emulator: %s\n", error.what());
    return 125;
  }
}
