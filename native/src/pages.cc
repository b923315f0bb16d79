#include "pages.h"

#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace jaxgru {

void prefer_large_pages(void* data, std::size_t bytes) {
#ifdef __linux__
  constexpr std::size_t kLarge = std::size_t{2} << 20;
  if (bytes < 2 * kLarge) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  const auto first = (begin + kLarge - 1) / kLarge * kLarge;
  const auto end = (begin + bytes) / kLarge * kLarge;
  madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#else
  (void)data;
  (void)bytes;
#endif
}

}  // namespace jaxgru
