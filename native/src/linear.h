// The linear recurrence of the derivative.
#pragma once

#include "carry.h"
#include "schedule.h"

namespace jaxgru {
namespace {

template <class T>
class Linear {
 public:
  using Problem = LinearProblem<T>;
  using Number = T;

  static int64_t work(const Problem& p) { return 3 * p.sizes.units * p.sizes.units; }
  static int64_t packed_size(const Problem& p) {
    return jaxgru::packed_size<T>(p.sizes.units, 3, p.sizes.units);
  }
  static int64_t memory_size(const Problem& p, int64_t rows) {
    return Carry<T>::size(rows, p.sizes.units) + 2 * rows * Rows<T>::width_of(p.sizes.units);
  }

  Linear() = default;
  Linear(const Problem& problem, int64_t, T* memory) : p_(&problem), memory_(memory) {}

  // Packs some panels of the matrices; memory and its parts are the same for all panels.
  void pack(Range panels) {
    Allocator<T> allocator(memory_);
    const int64_t units = p_->sizes.units;
    const auto element = [&](int64_t k, int64_t column) {
      return p_->transposed_kernel[column * units + k];
    };
    if (p_->r) {
      to_reset_ =
          allocator.template take_packed<2>(units, units, panels, Layout::by_columns, element);
      to_candidate_ = allocator.template take_packed<1>(
          units, units, panels, Layout::by_columns,
          [&](int64_t k, int64_t column) { return element(k, 2 * units + column); });
    } else {
      to_gates_ =
          allocator.template take_packed<3>(units, units, panels, Layout::by_columns, element);
    }
  }

  void run(Range row_range, Range panels, T* memory, const TeamBarrier& together) const {
    Loop loop(*this, row_range, panels, memory);
    loop.carry.start(panels, p_->state);
    together.wait();
    for (int64_t step = 0; step < p_->sizes.steps; ++step) {
      loop.carry.begin(step);
      if (p_->r) {
        loop.gates();
        together.wait();
        loop.candidate();
      } else {
        loop.reset_after();
      }
      together.wait();
    }
    loop.carry.finish(panels, p_->state_out);
  }

 private:
  struct Loop {
    Loop(const Linear& owner, Range row_range, Range own_panels, T* memory)
        : f(owner),
          p(*owner.p_),
          first(row_range.begin),
          rows(row_range.size()),
          panels(own_panels),
          allocator(memory),
          carry(p.sizes, p.flags, nullptr, p.factors, p.reverse, first, rows, allocator),
          sums_outside(allocator.take_rows(rows, p.sizes.units)),
          gated(allocator.take_rows(rows, p.sizes.units)) {}

    Vector<T> at(const T* array, int64_t row, int64_t panel) const {
      return carry.place().read(array, row, panel);
    }

    void reset_after() {
      const auto finish = [&](auto& tile) {
        tile.each([&](int64_t row, int64_t panel, int i) {
          const auto& sums = tile.sums[i];
          Vector<T> dh = at(p.z, row, panel) * carry.state(row, panel) + at(p.sequence, row, panel);
          dh += at(p.a, row, panel) * sums[0];
          dh += at(p.b, row, panel) * sums[1];
          conclude(row, panel, dh + at(p.c, row, panel) * sums[2]);
        });
      };
      multiply<3>(f.to_gates_, carry.entering(), finish);
    }

    void gates() {
      const auto finish = [&](auto& tile) {
        tile.each([&](int64_t row, int64_t panel, int i) {
          const auto& sums = tile.sums[i];
          const Vector<T> dh =
              at(p.z, row, panel) * carry.state(row, panel) + at(p.sequence, row, panel);
          store<T>(sums_outside.at(row, panel), dh + at(p.a, row, panel) * sums[0]);
          const Vector<T> inside = load(carry.entering().at(row, panel));
          store<T>(gated.at(row, panel),
                   at(p.r, row, panel) * inside + at(p.b, row, panel) * sums[1]);
        });
      };
      multiply<2>(f.to_reset_, carry.entering(), finish);
    }

    void candidate() {
      const auto finish = [&](auto& tile) {
        tile.each([&](int64_t row, int64_t panel, int i) {
          const Vector<T> outside = load(sums_outside.at(row, panel));
          conclude(row, panel, outside + at(p.c, row, panel) * tile.sums[i][0]);
        });
      };
      multiply<1>(f.to_candidate_, gated, finish);
    }

    template <int C, class Finish>
    void multiply(const Packed<T, C>& matrix, const Rows<T>& by, const Finish& finish) {
      products<T, C>(rows, panels, carry.backwards(), matrix, by, Zero<T, C>(), finish);
    }

    __attribute__((always_inline)) void conclude(int64_t row, int64_t panel, const Vector<T>& dh) {
      carry.place().write(p.sequence_out, row, panel, dh);
      carry.enter(row, panel, dh);
    }

    const Linear& f;
    const Problem& p;
    int64_t first, rows;
    Range panels;
    Allocator<T> allocator;
    Carry<T> carry;
    Rows<T> sums_outside, gated;  // of reset before: all but the candidate's product, and its input
  };

  const Problem* p_ = nullptr;
  T* memory_ = nullptr;
  Packed<T, 3> to_gates_;      // of reset after
  Packed<T, 2> to_reset_;      // of reset before: update and reset gate
  Packed<T, 1> to_candidate_;  // and the candidate
};

}  // namespace
}  // namespace jaxgru
