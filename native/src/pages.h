// Memory in large pages.
#pragma once

#include <cstddef>

namespace jaxgru {

// Asks the system for large pages where an array is about to be written. Large arrays of XLA are in
// memory that is new at each call, and a fault for each small page takes longer than writing it.
void prefer_large_pages(void* data, std::size_t bytes);

}  // namespace jaxgru
