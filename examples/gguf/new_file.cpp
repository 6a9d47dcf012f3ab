// new_file: the system calls.
#include "new_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>

namespace gguf {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what) {
  throw std::runtime_error(path + ": " + what + ": " + std::generic_category().message(errno));
}

// The name of the unfinished file, for the signal handler; null when there is none.
std::atomic<const char*> unfinished_name{nullptr};

extern "C" void remove_unfinished(int signal) {
  if (const char* const name = unfinished_name.load()) ::unlink(name);
  ::raise(signal);  // its default action now: SA_RESETHAND
}

void remove_on_signals() {
  struct sigaction action{};
  action.sa_handler = remove_unfinished;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGBUS, SIGXFSZ}) {
    struct sigaction before{};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler == SIG_DFL) ::sigaction(signal, &action, nullptr);
  }
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

// Makes a change of names in a folder last.
void sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail(folder, "cannot open");
  const bool synced = ::fsync(descriptor) == 0 || errno == EINVAL;  // EINVAL: the file system has no such thing
  ::close(descriptor);
  if (!synced) fail(folder, "cannot sync");
}

}  // namespace

new_file::new_file(const std::string& path) : path_(path), unfinished_(path + ".unfinished-" + std::to_string(::getpid())) {
  if (path.empty() || path.back() == '/') throw std::runtime_error("\"" + path + "\" is no name for a file");
  descriptor_ = ::open(unfinished_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(unfinished_, "cannot create");
  unfinished_name = unfinished_.c_str();
  remove_on_signals();
}

new_file::~new_file() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(unfinished_.c_str());
  unfinished_name = nullptr;
}

void new_file::append(std::span<const std::byte> bytes) {
  overwrite(size_, bytes);
  size_ += bytes.size();
}

void new_file::overwrite(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(unfinished_, "cannot write");
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void new_file::finish() {
  if (::fsync(descriptor_) != 0) fail(unfinished_, "cannot sync");
  if (::rename(unfinished_.c_str(), path_.c_str()) != 0) fail(path_, "cannot replace");
  unfinished_name = nullptr;
  ::close(descriptor_);
  descriptor_ = -1;
  sync_folder(folder_of(path_));
}

}  // namespace gguf
