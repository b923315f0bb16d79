#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernel.h"

namespace jaxgru {

extern const Kernel portable, avx2, avx512;

const std::vector<const Kernel*>& kernels() {
  static const std::vector<const Kernel*> found = [] {
    std::vector<const Kernel*> found;
#if defined(JAXGRU_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
      found.push_back(&avx512);
    }
#endif
#if defined(JAXGRU_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2);
#endif
#if defined(JAXGRU_PORTABLE)
    found.push_back(&portable);
#endif
    return found;
  }();
  return found;
}

const Kernel& kernel() {
  static const Kernel& chosen = [&]() -> const Kernel& {
    const char* wanted = std::getenv("JAXGRU_NATIVE_ISA");
    for (const Kernel* kernel : kernels()) {
      if (wanted != nullptr && std::strcmp(wanted, kernel->name) == 0) return *kernel;
    }
    return *kernels().at(0);
  }();
  return chosen;
}

}  // namespace jaxgru
