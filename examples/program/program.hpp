// What the programs share: the options that all have, exit statuses, the choice of tensors, and what goes to the terminal.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gguf/gguf.hpp"

namespace CLI {
class App;
}

namespace program {

inline constexpr int success = 0, failure = 1, bad_usage = 2;

struct options {
  std::string path;
  std::string tensor_regex;  // empty: every tensor
  int threads = 0;           // 0: as many as this process may use
  bool list = false;
  std::optional<std::string> json;  // a path, or "-" for stdout
};

// MODEL, --list, --tensor, --threads and --json. `list_help` says what --list does not do.
void add_options(CLI::App& app, options& o, const std::string& list_help);

inline bool prints_table(const options& o) { return !o.json || *o.json != "-"; }

// The tensors with a match of --tensor in their names, in file order. Throws std::runtime_error when there is none, and when it is no
// regular expression (ECMAScript).
std::vector<const gguf::tensor*> select(const gguf::file& file, const options& o);

std::string shape_text(const gguf::tensor& t);  // "N x K"; of other tensors all dimensions, outermost first
void print_file(const gguf::file& file);        // version, architecture, counts

nlohmann::json describe_file(const gguf::file& file, const std::string& path);
nlohmann::json describe_tensor(const gguf::tensor& t);
// To a file, or stdout for "-". Throws std::runtime_error when it cannot be written.
void write_json(const std::string& destination, const nlohmann::json& value);

// The most memory this process has held at a time, the pages of the file that were in memory included; 0 if unknown.
double peak_megabytes();

// A bar on stderr when that is a terminal, else nothing. clear() before anything else is printed.
class progress_bar {
 public:
  explicit progress_bar(std::size_t total);
  ~progress_bar() { clear(); }
  void show(std::size_t done, const std::string& now) const;
  void clear() const;

 private:
  std::size_t total_;
  bool on_;
};

// Parses the command line, does the work and returns the exit status. An exception is a message on stderr and `failure`.
// `advice`: what to do when memory does not suffice.
int run(CLI::App& app, int argc, char** argv, const char* advice, const std::function<int()>& work);

}  // namespace program
