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
    return jaxgru::packed_size<T>(3 * padded<T>(p.sizes.units), 1, p.sizes.units);
  }
  static int64_t memory_size(const Problem& p, int64_t rows) {
    const int64_t units = p.sizes.units;
    return rows * (2 * Rows<T>::width_of(units, 3) + 3 * Rows<T>::width_of(units));
  }

  Transposed() = default;
  Transposed(const Problem& problem, int64_t, T* memory)
      : p_(&problem), parts_(problem.r ? 2 : 3), memory_(memory) {}

  // Packs some panels of the matrices; memory and its parts are the same for all panels.
  void pack(Range panels) {
    Allocator<T> allocator(memory_);
    const int64_t units = p_->sizes.units;
    const auto packed = [&](int first, int blocks) {
      const auto element = [&](int64_t k, int64_t column) {
        const int64_t block = k / kLanes<T> % blocks;
        const int64_t unit = k / (kLanes<T> * blocks) * kLanes<T> + k % kLanes<T>;
        if (unit >= units) return T(0);
        return p_->transposed_kernel[((first + block) * units + unit) * units + column];
      };
      return allocator.template take_packed<1>(blocks * padded<T>(units), units, panels,
                                               Lies::by_rows, element);
    };
    of_gates_ = packed(0, parts_);
    if (p_->r) of_candidate_ = packed(2, 1);
  }

  void run(Range row_range, Range panels, T* memory, const Together& together) const {
    Loop loop(*this, row_range, panels, memory);
    loop.start();
    together.wait();
    for (int64_t step = 0; step < p_->sizes.steps; ++step) {
      loop.begin(step);
      if (p_->r) {
        loop.candidate();
        together.wait();
      }
      loop.gates();
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
          insides(allocator.take_rows(rows, p.sizes.units)),
          constant(p.sizes, 0, first),
          now(place(0)),
          next(place(0)) {}

    void start() {
      each(rows, panels, [&](int64_t row, int64_t panel) {
        enter(row, panel, constant.read(p.state, row, panel));
      });
    }

    // Goes on to a step, the next one.
    void begin(int64_t step) {
      odd = step % 2;
      now = next;
      is_last = step + 1 == p.sizes.steps;
      if (!is_last) next = place(step + 1);
      resets = flags_at(p.flags.resets, p.sizes, time(step), first);
    }

    void candidate() {
      const auto finish = [&](auto& tile) {
        tile.each([&](int64_t row, int64_t panel, int i) {
          const Vector<T> sum = tile.sums[i][0];
          store(insides.at(row, panel), sum);
          store<T>(part(odd, row, panel, 1), now.read(p.b, row, panel) * sum);
        });
      };
      multiply(f.of_candidate_, into_candidate, finish);
    }

    void gates() {
      const auto finish = [&](auto& tile) {
        tile.each([&](int64_t row, int64_t panel, int i) { leave(row, panel, tile.sums[i][0]); });
      };
      multiply(f.of_gates_, parts[odd], finish);
    }

   private:
    // This loop goes against the linear recurrence.
    int64_t time(int64_t step) const { return p.reverse ? step : p.sizes.steps - 1 - step; }
    Place<T> place(int64_t step) const { return Place<T>(p.sizes, time(step), first); }

    T* part(bool of_odd, int64_t row, int64_t panel, int number) const {
      return parts[of_odd].at(row, panel * f.parts_ + number);
    }

    template <class Finish>
    void multiply(const Packed<T, 1>& matrix, const Rows<T>& by, const Finish& finish) {
      products<T, 1>(rows, panels, odd, matrix, by, Zero<T, 1>(), finish);
    }

    // From what comes through the products, the cotangent of the state before the present step.
    __attribute__((always_inline)) void leave(int64_t row, int64_t panel, Vector<T> entering) {
      if (p.r) entering += now.read(p.r, row, panel) * load(insides.at(row, panel));
      if (p.factors) entering *= constant.read(p.factors, row, panel);
      Vector<T> back = now.read(p.z, row, panel) * load(cotangents.at(row, panel)) + entering;
      if (resets && resets[row]) back = Vector<T>{};
      if (is_last) {
        constant.write(p.state_out, row, panel, back);
      } else {
        enter(row, panel, back);
      }
    }

    // Adds what comes from the outputs of the next step to what comes from the steps after it.
    __attribute__((always_inline)) void enter(int64_t row, int64_t panel, Vector<T> cotangent) {
      cotangent += next.read(p.sequence, row, panel);
      next.write(p.sequence_out, row, panel, cotangent);
      store(cotangents.at(row, panel), cotangent);
      const Vector<T> of_candidate = next.read(p.c, row, panel) * cotangent;
      store<T>(part(!odd, row, panel, 0), next.read(p.a, row, panel) * cotangent);
      if (p.r) {
        store(into_candidate.at(row, panel), of_candidate);
      } else {
        store<T>(part(!odd, row, panel, 1), next.read(p.b, row, panel) * cotangent);
        store(part(!odd, row, panel, 2), of_candidate);
      }
    }

    const Transposed& f;
    const Problem& p;
    int64_t first, rows;
    Range panels;
    Allocator<T> allocator;
    Rows<T> parts[2];  // what enters the product of gates
    Rows<T> cotangents;
    Rows<T> into_candidate, insides;  // of reset before: c l, and its product
    Place<T> constant, now, next;     // in arrays (B, H), and of the present step and the next
    const bool* resets = nullptr;     // of the rows, at the present step
    bool odd = true, is_last = false;
  };

  const Problem* p_ = nullptr;
  int parts_ = 3;
  T* memory_ = nullptr;
  Packed<T, 1> of_gates_, of_candidate_;
};

}  // namespace
}  // namespace jaxgru
