// The memory of a loop: the arrays of its problem, and its own buffers.
#pragma once

#include "problem.h"
#include "product.h"

namespace jaxgru {
namespace {

// The position of some rows in an array (T, B, H), at one time, or in an array (B, H).
template <class T>
struct Place {
  int64_t offset, units, width;

  Place(const Sizes& sizes, int64_t t, int64_t first)
      : offset((t * sizes.rows + first) * sizes.units), units(sizes.units), width(units) {}
  // In a sequence of states.
  static Place in_sequence(const Sizes& sizes, int64_t t, int64_t first) {
    Place place(sizes, 0, 0);
    place.offset = sizes.in_sequence(t, first) * sizes.units;
    place.width = sizes.between_rows() * sizes.units;
    return place;
  }
  Vector<T> read(const T* array, int64_t row, int64_t panel) const {
    return load(array + at(row, panel), units - panel * kLanes<T>);
  }
  void write(T* array, int64_t row, int64_t panel, const Vector<T>& v) const {
    store(array + at(row, panel), v, units - panel * kLanes<T>);
  }

 private:
  int64_t at(int64_t row, int64_t panel) const { return offset + row * width + panel * kLanes<T>; }
};

// The flags (T, B) of the rows from `first` on, at one time; null if there are none.
inline const bool* flags_at(const bool* flags, const Sizes& sizes, int64_t t, int64_t first) {
  return flags ? flags + t * sizes.rows + first : nullptr;
}

template <class Function>
inline void each(int64_t rows, Range panels, const Function& function) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) function(row, panel);
  }
}

// Rows of vectors, at a distance that is no power of two: such rows share few sets of a cache.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t width = 0;

  static int64_t width_of(int64_t units, int blocks = 1) {
    return padded<T>(units) * blocks + kLanes<T>;
  }
  T* operator()(int64_t row) const { return data + row * width; }
  T* at(int64_t row, int64_t panel) const { return data + row * width + panel * kLanes<T>; }
};

// Allocates consecutive arrays in one block of memory.
template <class T>
class Allocator {
 public:
  explicit Allocator(T* memory) : next_(memory) {}
  T* take(int64_t numbers) {
    T* taken = next_;
    next_ += numbers;
    return taken;
  }
  Rows<T> take_rows(int64_t rows, int64_t units, int blocks = 1) {
    const int64_t width = Rows<T>::width_of(units, blocks);
    return {take(rows * width), width};
  }
  // A matrix of which some panels are packed.
  template <int C, class Element>
  Packed<T, C> take_packed(int64_t depth, int64_t units, Range panels, Layout layout,
                           const Element& element) {
    T* packed = take(packed_size<T>(depth, C, units));
    pack(depth, C, units, panels, layout, element, packed);
    return {packed, depth};
  }

 private:
  T* next_;
};

}  // namespace
}  // namespace jaxgru
