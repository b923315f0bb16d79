#include <cstdlib>
#include <cstring>

#include "kernel.h"

namespace jaxgru {

extern const Kernel portable, avx2, avx512;

namespace {

const Kernel& chosen() {
  const char* wanted = std::getenv("JAXGRU_NATIVE_ISA");
  const auto admits = [&](const Kernel& kernel) {
    return wanted == nullptr || *wanted == 0 || std::strcmp(wanted, kernel.name) == 0;
  };
#if defined(JAXGRU_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && admits(avx512)) {
    return avx512;
  }
#endif
#if defined(JAXGRU_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && admits(avx2)) return avx2;
#endif
  return portable;
}

}  // namespace

const Kernel& kernel() {
  static const Kernel& best = chosen();
  return best;
}

}  // namespace jaxgru
