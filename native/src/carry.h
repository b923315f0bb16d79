// A state between steps: the state before the next step, and the input of its products.
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
        rows_(rows),
        constant_(sizes, 0, first),
        state_(memory.take_rows(rows, sizes.units)),
        entering_{memory.take_rows(rows, sizes.units), memory.take_rows(rows, sizes.units)},
        now_(at(0)),
        next_(at(0)) {}

  // Makes h (B, H) the state before the first step.
  void start(Range panels, const T* h) {
    each(rows_, panels,
         [&](int64_t row, int64_t panel) { enter(row, panel, constant_.read(h, row, panel)); });
  }

  // Advances to the next step.
  void begin(int64_t step) {
    now_ = next_;
    next_ = at(step + 1);
  }

  // After the last step, writes its state to h (B, H).
  void finish(Range panels, T* h) const {
    each(rows_, panels,
         [&](int64_t row, int64_t panel) { constant_.write(h, row, panel, state(row, panel)); });
  }

  // The place in time of a step; that of the present step in arrays (T, B, H), and in sequences.
  int64_t time(int64_t step) const { return reverse_ ? sizes_.steps - 1 - step : step; }
  const Place<T>& place() const { return now_.place; }
  const Place<T>& in_sequence() const { return now_.in_sequence; }

  // The state before the current step, and the input of its products, which is 0 at a held step.
  Vector<T> state(int64_t row, int64_t panel) const { return load(state_.at(row, panel)); }
  const Rows<T>& entering() const { return now_.entering; }

  // Whether the present step reads its matrices backwards: as every other one, see products().
  bool backwards() const { return now_.odd; }

  bool held(int64_t row) const { return now_.valid && !now_.valid[row]; }

  // Whether all rows are held: such a step needs no product.
  bool all_held() const {
    for (int64_t row = 0; row < rows_; ++row) {
      if (!held(row)) return false;
    }
    return true;
  }

  // Makes h the state before the next step.
  __attribute__((always_inline)) void enter(int64_t row, int64_t panel, Vector<T> h) {
    if (next_.resets && next_.resets[row]) {
      h = reset_to_ ? constant_.read(reset_to_, row, panel) : Vector<T>{};
    }
    store(state_.at(row, panel), h);
    if (next_.valid && !next_.valid[row]) h = Vector<T>{};
    if (factors_) h *= constant_.read(factors_, row, panel);
    store(next_.entering.at(row, panel), h);
  }

 private:
  // Values that are the same for all vectors of a step, computed once.
  struct Step {
    Place<T> place, in_sequence;
    const bool *valid, *resets;  // of the rows, or null
    bool odd;
    Rows<T> entering;
  };

  Step at(int64_t step) const {
    const bool odd = step % 2;
    if (step == sizes_.steps) return {constant_, constant_, nullptr, nullptr, odd, entering_[odd]};
    const int64_t t = time(step);
    return {Place<T>(sizes_, t, first_),
            Place<T>::in_sequence(sizes_, t, first_),
            flags_at(flags_.valid, sizes_, t, first_),
            flags_at(flags_.resets, sizes_, t, first_),
            odd,
            entering_[odd]};
  }

  const Sizes& sizes_;
  const Flags& flags_;
  const T* reset_to_;
  const T* factors_;
  bool reverse_;
  int64_t first_, rows_;
  Place<T> constant_;  // of the rows in arrays (B, H)
  Rows<T> state_;
  Rows<T> entering_[2];
  Step now_, next_;
};

}  // namespace
}  // namespace jaxgru
