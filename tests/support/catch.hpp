// Catch2, version 2 or 3, and one helper: an exception of a type whose message has all the given parts.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <initializer_list>
#include <string>

namespace tests {

// The message of the Exception that f() throws; fails if it throws none.
template <class Exception, class Function>
std::string message_of(Function&& f) {
  try {
    f();
  } catch (const Exception& e) {
    return e.what();
  }
  FAIL("no exception was thrown");
  return {};
}

// Checks that a message has all the parts: an error must name its numbers.
inline void check_names(const std::string& message, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    INFO("message: " << message << "\nwants: " << part);
    CHECK(message.find(part) != std::string::npos);
  }
}

}  // namespace tests
