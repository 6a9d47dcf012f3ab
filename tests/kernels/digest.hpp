// Results as 64-bit digests, compared with those on record: so that runs on different machines, natively and emulated, agree.
// The record is tests/data/exact_digests.txt, "type digest" a line. After a deliberate change of the order, or with a new type:
//
//   TEGULA_RECORD_DIGESTS=tests/data/exact_digests.txt build/tests/tests/test_kernels "[digest]"
#pragma once

#include <string>
#include <vector>

namespace tests {

class digest {
 public:
  void add(const std::vector<float>& values);  // by their bits
  [[nodiscard]] std::string text() const;

 private:
  unsigned long long state_ = 0xcbf29ce484222325u;
};

// Compares with the record, or makes it if TEGULA_RECORD_DIGESTS names a file.
void check_recorded(const std::string& name, const digest& sum);

}  // namespace tests
