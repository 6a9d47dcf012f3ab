// Rows of weights in GGUF's types and tegula's own, from floats, and with single weights set to zero. Every weight of zero is exactly zero
// for any reader of the type.
#pragma once

#include <span>

#include <tegula/tegula.hpp>

namespace gguf_prune {

namespace tg = tegula;

std::size_t block_weights(tg::type_id type);  // weights of a block

// Whether quantize() knows a type: F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q8_256.
bool can_quantize(tg::type_id type);

// A row of as many weights as fill whole blocks of the type. Q4_K's minima are 8 scales of their group, so that its levels are
// scale * (-8 .. 7): the levels of Q4_0.
void quantize(tg::type_id type, std::span<const float> row, std::byte* blocks);

// Whether a weight of any block of the type can be made zero without touching others: not where a minimum is added to the quants.
bool can_clear(tg::type_id type);

// Makes the marked weights of a row zero; all other bits stay.
void clear(tg::type_id type, std::span<const std::uint8_t> marked, std::byte* row);

}  // namespace gguf_prune
