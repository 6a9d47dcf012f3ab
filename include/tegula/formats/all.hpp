// The list of formats. A new one is a file in this folder and a line (an include and a name) here: packing, every ISA's
// kernels, dispatch by type number, tests and benchmarks follow from the list.
#pragma once

#include "../core/error.hpp"
#include "float_types.hpp"
#include "q4_0.hpp"
#include "q4_1.hpp"
#include "q4_k.hpp"
#include "q5_k.hpp"
#include "q6_k.hpp"
#include "q8_0.hpp"
#include "q8_256.hpp"

namespace tegula::inline TEGULA_ABI {

template <block_format... Formats>
struct format_list {};

using all_formats = format_list<f32, f16, bf16,    //
                                q4_0, q4_1, q8_0,  //
                                q4_k, q5_k, q6_k,  //
                                q8_256>;

namespace detail {

template <class Function, class First, class... Rest>
decltype(auto) visit_format(type_id id, Function&& function, format_list<First, Rest...>) {
  if (id == First::id) return function(First{});
  if constexpr (sizeof...(Rest) > 0) {
    return visit_format(id, function, format_list<Rest...>{});
  } else {
    fail_argument("ggml type ", id.value, " is not supported");
  }
}

template <class... Formats>
constexpr bool contains(type_id id, format_list<Formats...>) {
  return ((id == Formats::id) || ...);
}

}  // namespace detail

// Whether tegula has kernels for a ggml type number.
constexpr bool supported(type_id id) { return detail::contains(id, all_formats{}); }

// Calls function(F{}) for the format F of a ggml type number. Throws std::invalid_argument for a type that is not supported.
template <class Function>
decltype(auto) visit(type_id id, Function&& function) {
  return detail::visit_format(id, function, all_formats{});
}

}  // namespace tegula::inline TEGULA_ABI
