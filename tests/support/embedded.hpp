// Files of tests/data inside the program, so that it runs where the sources are not, as on an emulated machine. CMakeLists.txt
// makes embedded.cpp.
#pragma once

#include <span>
#include <string_view>

namespace tests {

// The file's bytes by its name without folder and extension; empty if there is no such file.
std::span<const unsigned char> embedded(std::string_view name);

}  // namespace tests
