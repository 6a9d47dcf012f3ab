// Includes all of the library and uses nothing: what that alone costs, and whether anything of it would run before main.
#include <tegula/openmp.hpp>
#include <tegula/tegula.hpp>
#include <tegula/thread_pool.hpp>
