#include "scratch.h"

#include <cstdlib>
#include <mutex>
#include <new>

namespace jaxgru {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kKept = std::size_t{64} << 20;  // bytes: larger blocks are not kept

struct Block {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// One block for each of a few calls at once. The lock is never waited for: memory can be had
// without it, and after a fork its owner may not exist.
constexpr int kBlocks = 4;
Block kept[kBlocks];
std::mutex mutex;

}  // namespace

Scratch::Scratch(int64_t numbers, std::size_t size_of_number) {
  bytes_ = (static_cast<std::size_t>(numbers) * size_of_number + kLine) / kLine * kLine;
  if (const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock); lock) {
    for (Block& block : kept) {
      if (block.bytes < bytes_) continue;
      data_ = block.data;
      bytes_ = block.bytes;
      block = {};
      return;
    }
  }
  data_ = std::aligned_alloc(kLine, bytes_);
  if (data_ == nullptr) throw std::bad_alloc();
}

Scratch::~Scratch() {
  void* dropped = data_;
  if (const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock); lock && bytes_ <= kKept) {
    Block* smallest = &kept[0];
    for (Block& block : kept) {
      if (block.bytes < smallest->bytes) smallest = &block;
    }
    if (smallest->bytes < bytes_) {
      dropped = smallest->data;
      *smallest = {data_, bytes_};
    }
  }
  std::free(dropped);
}

}  // namespace jaxgru
