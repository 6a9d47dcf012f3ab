#pragma once
#include "../avx512/kernels.hpp"
namespace tegula::inline TEGULA_ABI::amx { struct kernels : avx512::generic_kernels { template <block_format F, compute Mode> static constexpr isa runs = isa::avx512; }; }
