// See program.hpp.
#include "program.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <new>
#include <regex>

namespace program {

using nlohmann::json;

void add_options(CLI::App& app, options& o, const std::string& list_help) {
  app.add_option("MODEL", o.path, "a GGUF file, version 2 or 3")->required();
  app.add_flag("--list", o.list, list_help);
  app.add_option("--tensor", o.tensor_regex, "only tensors with a match of this regular expression (ECMAScript) in their name")
      ->type_name("REGEX")
      ->capture_default_str();
  app.add_option("--threads", o.threads, "0: as many as this process may use")
      ->check(CLI::Range(0, 1024).description(""))
      ->type_name("N")
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--json", [&o](const std::string& file) { o.json = file.empty() ? "-" : file; },
         "write JSON to FILE, or, without FILE (stand last, then), to stdout instead of the table")
      ->expected(0, 1)
      ->type_name("[FILE]");
}

std::vector<const gguf::tensor*> select(const gguf::file& file, const options& o) try {
  std::vector<const gguf::tensor*> selected;
  const std::regex pattern(o.tensor_regex);
  for (const gguf::tensor& t : file.tensors()) {
    if (o.tensor_regex.empty() || std::regex_search(t.name.begin(), t.name.end(), pattern)) selected.push_back(&t);
  }
  if (selected.empty() && !o.tensor_regex.empty()) {
    throw std::runtime_error("--tensor " + o.tensor_regex + " matches none of the " + std::to_string(file.tensors().size()) +
                             " tensors of " + o.path + "; --list --tensor . shows them");
  }
  return selected;
} catch (const std::regex_error& problem) {
  throw std::runtime_error("--tensor " + o.tensor_regex + " is no regular expression: " + problem.what());
}

std::string shape_text(const gguf::tensor& t) {
  if (t.n_dims == 0) return "scalar";
  std::string text;
  for (std::uint32_t i = t.n_dims; i-- > 0;) text += std::to_string(t.dims[i]) + (i > 0 ? " x " : "");
  return text;
}

void print_file(const gguf::file& file) {
  std::printf("GGUF v%" PRIu32 ", architecture %s, %s, %.1f MB: %zu tensors, %zu metadata entries, alignment %" PRIu64 "\n", file.version(),
              gguf::printable(file.text("general.architecture").value_or("unknown")).c_str(),
              gguf::printable(file.text("general.name").value_or("no name")).c_str(), 1e-6 * static_cast<double>(file.size()),
              file.tensors().size(), file.entries().size(), file.alignment());
}

json describe_file(const gguf::file& file, const std::string& path) {
  return {{"path", path},
          {"bytes", file.size()},
          {"gguf_version", file.version()},
          {"architecture", std::string(file.text("general.architecture").value_or(""))},
          {"name", std::string(file.text("general.name").value_or(""))},
          {"alignment", file.alignment()}};
}

json describe_tensor(const gguf::tensor& t) {
  json dims = json::array();
  for (std::uint32_t i = 0; i < t.n_dims; ++i) dims.push_back(t.dims[i]);
  return {{"name", std::string(t.name)}, {"type", gguf::type_name(t.type)},
          {"type_number", t.type},       {"dims", dims},
          {"offset", t.offset},          {"bytes", t.bytes}};
}

void write_json(const std::string& destination, const json& value) {
  // Names come from the file and need not be UTF-8; what is not becomes U+FFFD. Infinite numbers become null.
  const std::string text = value.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
  if (destination == "-") {
    std::fputs(text.c_str(), stdout);
    return;
  }
  std::ofstream out(destination, std::ios::binary);
  out << text << std::flush;
  if (!out) throw std::runtime_error("cannot write " + destination);
}

double peak_megabytes() {
  std::FILE* const status = std::fopen("/proc/self/status", "r");
  if (status == nullptr) return 0;
  std::array<char, 256> line{};
  unsigned long kilobytes = 0;
  while (std::fgets(line.data(), static_cast<int>(line.size()), status) != nullptr) {
    if (std::sscanf(line.data(), "VmHWM: %lu kB", &kilobytes) == 1) break;
  }
  std::fclose(status);
  return 1.024e-3 * static_cast<double>(kilobytes);
}

progress_bar::progress_bar(std::size_t total) : total_(total), on_(::isatty(STDERR_FILENO) != 0) {}

void progress_bar::show(std::size_t done, const std::string& now) const {
  if (!on_ || total_ == 0) return;
  constexpr std::size_t width = 30;
  const std::size_t filled = done * width / total_;
  std::fprintf(stderr, "\r\033[K[%s%s] %zu/%zu %s", std::string(filled, '#').c_str(), std::string(width - filled, '.').c_str(), done,
               total_, now.substr(0, 40).c_str());
  std::fflush(stderr);
}

void progress_bar::clear() const {
  if (on_) std::fputs("\r\033[K", stderr);
}

int run(CLI::App& app, int argc, char** argv, const char* advice, const std::function<int()>& work) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? success : bad_usage;
  }
  const std::string name = app.get_name();
  try {
    const int status = work();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw std::runtime_error("cannot write to stdout");
    return status;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "%s: out of memory; %s\n", name.c_str(), advice);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), problem.what());
  }
  return failure;
}

}  // namespace program
