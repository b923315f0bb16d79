// A state between steps: what the next step starts from, and what its products read.
#pragma once

#include "arrays.h"

namespace jaxgru {
namespace {

template <class T>
class Carry {
 public:
  static int64_t size(int64_t rows, int64_t units) { return 3 * rows * Rows<T>::width_of(units); }

  // The rows from `first` on; resets lead to `reset_to`, or to 0 if that is null.
  Carry(const Sizes& sizes, const Flags& flags, const T* reset_to, const T* factors, bool reverse,
        int64_t first, int64_t rows, Allocator<T>& memory)
      : sizes_(sizes),
        flags_(flags),
        reset_to_(reset_to),
        factors_(factors),
        reverse_(reverse),
        first_(first),
        state_(memory.take_rows(rows, sizes.units)),
        entering_{memory.take_rows(rows, sizes.units), memory.take_rows(rows, sizes.units)} {}

  // The place in time of a step.
  int64_t time(int64_t step) const { return reverse_ ? sizes_.steps - 1 - step : step; }

  // The state before the present step, and what enters its products: of a held step, 0.
  Vector<T> state(int64_t row, int64_t panel) const { return load(state_.at(row, panel)); }
  const Rows<T>& entering(int64_t step) const { return entering_[step % 2]; }

  bool held(int64_t step, int64_t row) const {
    return flags_.valid && !flag(flags_.valid, step, row);
  }

  // Whether all rows are held: such a step needs no product.
  bool all_held(int64_t step, int64_t rows) const {
    for (int64_t row = 0; row < rows; ++row) {
      if (!held(step, row)) return false;
    }
    return true;
  }

  // Makes the first state that before the first step.
  void start(int64_t rows, Range panels, const T* h) {
    each(rows, panels, [&](int64_t row, int64_t panel) {
      enter(0, row, panel, Place<T>(sizes_, 0, first_ + row, panel).read(h));
    });
  }

  // Makes h the state before a step.
  void enter(int64_t step, int64_t row, int64_t panel, Vector<T> h) {
    if (step == sizes_.steps) return;
    if (flags_.resets && flag(flags_.resets, step, row)) {
      h = reset_to_ ? Place<T>(sizes_, 0, first_ + row, panel).read(reset_to_) : Vector<T>{};
    }
    store(state_.at(row, panel), h);
    if (held(step, row)) h = Vector<T>{};
    if (factors_) h *= Place<T>(sizes_, 0, first_ + row, panel).read(factors_);
    store(entering_[step % 2].at(row, panel), h);
  }

 private:
  bool flag(const bool* flags, int64_t step, int64_t row) const {
    return flags[time(step) * sizes_.rows + first_ + row];
  }

  const Sizes& sizes_;
  const Flags& flags_;
  const T* reset_to_;
  const T* factors_;
  bool reverse_;
  int64_t first_;
  Rows<T> state_;
  Rows<T> entering_[2];
};

}  // namespace
}  // namespace jaxgru
