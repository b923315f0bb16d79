// The transpose of the linear recurrence: the same loop from the other end.
//
// With l_t the cotangent of the state after step t, and f the factors:
//
//   l_{t-1} = cotangent_{t-1} + z l + f ([a l, b l, c l] U')                      reset after
//   l_{t-1} = cotangent_{t-1} + z l + f (r (c l) Un' + [a l, b (c l) Un'] Uzr')   reset before
//
// What enters the product of gates lies as panels of these parts, and so do the rows of the matrix.
#pragma once

#include "arrays.h"
#include "schedule.h"

namespace jaxgru {
namespace {

template <class T>
class Transposed {
 public:
  using Problem = LinearProblem<T>;
  using Number = T;

  static int64_t work(const Problem& p) { return 3 * p.sizes.units * p.sizes.units; }
  static int64_t packed_size(const Problem& p) {
    return wide_size<T>(3 * padded<T>(p.sizes.units), p.sizes.units);
  }
  static int64_t memory_size(const Problem& p, int64_t rows) {
    const int64_t units = p.sizes.units;
    return rows * (2 * Rows<T>::width_of(units, 3) + 3 * Rows<T>::width_of(units));
  }

  Transposed() = default;
  Transposed(const Problem& problem, int64_t, T* memory)
      : p_(&problem), parts_(problem.r ? 2 : 3), memory_(memory) {}

  void pack() {
    Allocator<T> allocator(memory_);
    const int64_t units = p_->sizes.units;
    const auto packed = [&](int first, int blocks) {
      const auto element = [&](int64_t k, int64_t column) {
        const int64_t block = k / kLanes<T> % blocks;
        const int64_t unit = k / (kLanes<T> * blocks) * kLanes<T> + k % kLanes<T>;
        if (unit >= units) return T(0);
        return p_->transposed_kernel[((first + block) * units + unit) * units + column];
      };
      return allocator.take_wide(blocks * padded<T>(units), units, element);
    };
    of_gates_ = packed(0, parts_);
    if (p_->r) of_candidate_ = packed(2, 1);
  }

  void run(Range row_range, Range panels, T* memory, const Together& together) const {
    Loop loop(*this, row_range, panels, memory);
    each(loop.rows, panels, [&](int64_t row, int64_t panel) {
      const Place<T> place(p_->sizes, 0, loop.first + row, panel);
      loop.enter(0, row, panel, place.read(p_->state));
    });
    together.wait();
    for (int64_t step = 0; step < p_->sizes.steps; ++step) {
      if (p_->r) {
        loop.candidate(step);
        together.wait();
      }
      loop.gates(step);
      together.wait();
    }
  }

 private:
  struct Loop {
    Loop(const Transposed& owner, Range row_range, Range own_panels, T* memory)
        : f(owner),
          p(*owner.p_),
          first(row_range.begin),
          rows(row_range.size()),
          panels(own_panels),
          allocator(memory),
          parts{allocator.take_rows(rows, p.sizes.units, 3),
                allocator.take_rows(rows, p.sizes.units, 3)},
          cotangents(allocator.take_rows(rows, p.sizes.units)),
          into_candidate(allocator.take_rows(rows, p.sizes.units)),
          insides(allocator.take_rows(rows, p.sizes.units)) {}

    // This loop goes against the linear recurrence.
    int64_t time(int64_t step) const { return p.reverse ? step : p.sizes.steps - 1 - step; }
    Place<T> place(int64_t step, int64_t row, int64_t panel) const {
      return Place<T>(p.sizes, time(step), first + row, panel);
    }

    // Adds what comes from the outputs of a step to what comes from the steps after it.
    void enter(int64_t step, int64_t row, int64_t panel, Vector<T> cotangent) {
      if (step == p.sizes.steps) return;
      const Place<T> at = place(step, row, panel);
      cotangent += at.read(p.sequence);
      at.write(p.sequence_out, cotangent);
      store(cotangents.at(row, panel), cotangent);
      const Vector<T> of_candidate = at.read(p.c) * cotangent;
      part(step, row, panel, 0, at.read(p.a) * cotangent);
      if (p.r) {
        store(into_candidate.at(row, panel), of_candidate);
      } else {
        part(step, row, panel, 1, at.read(p.b) * cotangent);
        part(step, row, panel, 2, of_candidate);
      }
    }

    void part(int64_t step, int64_t row, int64_t panel, int number, const Vector<T>& v) {
      store(parts[step % 2].at(row, panel * f.parts_ + number), v);
    }

    void candidate(int64_t step) {
      const auto finish = [&](int64_t i, int64_t panel, const Vector<T>& sum) {
        store(insides.at(i, panel), sum);
        part(step, i, panel, 1, place(step, i, panel).read(p.b) * sum);
      };
      wide_products(rows, panels, f.of_candidate_, padded<T>(p.sizes.units), into_candidate, zero,
                    finish);
    }

    void gates(int64_t step) {
      const auto finish = [&](int64_t i, int64_t panel, const Vector<T>& sum) {
        const Place<T> at = place(step, i, panel), of_row(p.sizes, 0, first + i, panel);
        Vector<T> entering = sum;
        if (p.r) entering += at.read(p.r) * load(insides.at(i, panel));
        if (p.factors) entering *= of_row.read(p.factors);
        Vector<T> back = at.read(p.z) * load(cotangents.at(i, panel)) + entering;
        if (p.flags.resets && p.flags.resets[time(step) * p.sizes.rows + first + i]) {
          back = Vector<T>{};
        }
        if (step + 1 == p.sizes.steps) of_row.write(p.state_out, back);
        enter(step + 1, i, panel, back);
      };
      const int64_t depth = f.parts_ * padded<T>(p.sizes.units);
      wide_products(rows, panels, f.of_gates_, depth, parts[step % 2], zero, finish);
    }

    static Vector<T> zero(int64_t, int64_t) { return Vector<T>{}; }

    const Transposed& f;
    const Problem& p;
    int64_t first, rows;
    Range panels;
    Allocator<T> allocator;
    Rows<T> parts[2];  // what enters the product of gates
    Rows<T> cotangents;
    Rows<T> into_candidate, insides;  // of reset before: c l, and its product
  };

  const Problem* p_ = nullptr;
  int parts_ = 3;
  T* memory_ = nullptr;
  T *of_gates_ = nullptr, *of_candidate_ = nullptr;  // packed
};

}  // namespace
}  // namespace jaxgru
