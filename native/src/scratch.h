// Memory of a call, kept for the next: fresh pages cost more than a short loop.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jaxgru {

class Scratch {
 public:
  Scratch(int64_t numbers, std::size_t size_of_number);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace jaxgru
