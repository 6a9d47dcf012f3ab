// Rows of what surrounds a product: dequantize/<type>/<isa>, pack/<type>, quantize_activations/<isa>. One thread.
#pragma once

#include "options.hpp"

namespace bench {

void register_pack(tg::type_id type);
void register_dequantize(const session& s, tg::type_id type);
void register_quantize_activations(const session& s);

}  // namespace bench
