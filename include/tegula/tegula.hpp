// tegula: matrix kernels for quantized LLM inference on x86-64 CPUs. The one header to include.
#pragma once

#include "gemm.hpp"
#include "pack/serialize.hpp"
#include "storage.hpp"
