# Builds ggml, CPU backend only, from its source folder, as llama.cpp does.
if(NOT EXISTS "${TEGULA_PEER_GGML}/include/ggml-cpu.h")
  message(FATAL_ERROR "TEGULA_PEER_GGML=${TEGULA_PEER_GGML} is not a source folder of ggml: include/ggml-cpu.h is missing. "
                      "benchmarks/README.md says where to get it.")
endif()
enable_language(C)
set(BUILD_SHARED_LIBS OFF)
set(GGML_CCACHE OFF)
set(GGML_OPENMP OFF)       # its own thread pool can be told to stop spinning while tegula is timed
set(GGML_LLAMAFILE ON)
set(GGML_CPU_REPACK ON)
if(TEGULA_PEER_GGML_ISA STREQUAL "native")
  set(GGML_NATIVE ON)
elseif(TEGULA_PEER_GGML_ISA STREQUAL "avx2")
  set(GGML_NATIVE OFF)
  foreach(feature SSE42 AVX AVX2 FMA F16C BMI2)
    set(GGML_${feature} ON)
  endforeach()
else()
  message(FATAL_ERROR "TEGULA_PEER_GGML_ISA=${TEGULA_PEER_GGML_ISA}: must be native or avx2")
endif()
set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # its option()s take the variables above
add_subdirectory("${TEGULA_PEER_GGML}" ggml EXCLUDE_FROM_ALL)
