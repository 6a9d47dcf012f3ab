#include "digest.hpp"

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "../support/catch.hpp"
#include "../support/embedded.hpp"

namespace tests {

// FNV-1a over 32-bit words, with a final mix.
void digest::add(const std::vector<float>& values) {
  for (const float value : values) {
    state_ = (state_ ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001b3u;
    state_ ^= state_ >> 29;
  }
}

std::string digest::text() const {
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", state_);
  return text;
}

void check_recorded(const std::string& name, const digest& sum) {
  if (const char* path = std::getenv("TEGULA_RECORD_DIGESTS"); path != nullptr && *path != '\0') {
    static std::ofstream record(path);
    REQUIRE(record << name << ' ' << sum.text() << std::endl);
    return;
  }
  static const auto recorded = [] {
    std::map<std::string, std::string> table;
    const auto data = embedded("exact_digests");
    std::istringstream lines(std::string(reinterpret_cast<const char*>(data.data()), data.size()));
    for (std::string type, value; lines >> type >> value;) table[type] = value;
    return table;
  }();
  const auto found = recorded.find(name);
  if (found == recorded.end()) {
    WARN(name << " has no digest on record: record it as kernels/digest.hpp says");
    return;
  }
  INFO(name << ": the bits of the results are not those on record");
  CHECK(sum.text() == found->second);
}

}  // namespace tests
