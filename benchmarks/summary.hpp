// The table after the rows: every type and contender by M, and, where a peer ran, the ratio to its best form.
#pragma once

#include <ostream>

#include "options.hpp"

namespace bench {

void print_summary(const session& s, std::ostream& out);

}  // namespace bench
