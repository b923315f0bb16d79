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
    return jaxgru::packed_size<T>(p.sizes.units, 3, p.sizes.units) +
           wide_size<T>(p.sizes.units, p.sizes.units);
  }
  static int64_t memory_size(const Problem& p, int64_t rows) {
    return Carry<T>::size(rows, p.sizes.units) + 2 * rows * Rows<T>::width_of(p.sizes.units);
  }

  Linear() = default;
  Linear(const Problem& problem, int64_t, T* memory) : p_(&problem), memory_(memory) {}

  void pack() {
    Allocator<T> allocator(memory_);
    const int64_t units = p_->sizes.units;
    const auto element = [&](int64_t k, int64_t column) {
      return p_->transposed_kernel[column * units + k];
    };
    to_gates_ = allocator.take_packed(units, p_->r ? 2 : 3, units, element);
    if (!p_->r) return;
    to_candidate_ = allocator.take_wide(
        units, units, [&](int64_t k, int64_t column) { return element(k, 2 * units + column); });
  }

  void run(Range row_range, Range panels, T* memory, const Together& together) const {
    Loop loop(*this, row_range, panels, memory);
    loop.carry.start(loop.rows, panels, p_->state);
    together.wait();
    for (int64_t step = 0; step < p_->sizes.steps; ++step) {
      if (p_->r) {
        loop.gates(step);
        together.wait();
        loop.candidate(step);
      } else {
        loop.reset_after(step);
      }
      together.wait();
    }
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

    Place<T> place(int64_t step, int64_t row, int64_t panel) const {
      return Place<T>(p.sizes, carry.time(step), first + row, panel);
    }

    void reset_after(int64_t step) {
      const auto start = [](int64_t, int64_t, Vector<T>(&sums)[3]) {
        for (Vector<T>& sum : sums) sum = Vector<T>{};
      };
      const auto finish = [&](const Tile<T, 3>& tile) {
        tile.each([&](int64_t row, int64_t panel, const Vector<T>(&sums)[3]) {
          const Place<T> at = place(step, row, panel);
          Vector<T> dh = at.read(p.z) * carry.state(row, panel) + at.read(p.sequence);
          dh += at.read(p.a) * sums[0];
          dh += at.read(p.b) * sums[1];
          conclude(step, row, panel, dh + at.read(p.c) * sums[2]);
        });
      };
      products<T, 3>(rows, panels, f.to_gates_, p.sizes.units, carry.entering(step), start, finish);
    }

    void gates(int64_t step) {
      const auto start = [](int64_t, int64_t, Vector<T>(&sums)[2]) {
        for (Vector<T>& sum : sums) sum = Vector<T>{};
      };
      const auto finish = [&](const Tile<T, 2>& tile) {
        tile.each([&](int64_t row, int64_t panel, const Vector<T>(&sums)[2]) {
          const Place<T> at = place(step, row, panel);
          const Vector<T> dh = at.read(p.z) * carry.state(row, panel) + at.read(p.sequence);
          const Vector<T> outside = dh + at.read(p.a) * sums[0];
          store(sums_outside.at(row, panel), outside);
          const Vector<T> inside = load(carry.entering(step).at(row, panel));
          const Vector<T> into_candidate = at.read(p.r) * inside + at.read(p.b) * sums[1];
          store(gated.at(row, panel), into_candidate);
        });
      };
      products<T, 2>(rows, panels, f.to_gates_, p.sizes.units, carry.entering(step), start, finish);
    }

    void candidate(int64_t step) {
      const auto start = [](int64_t, int64_t) { return Vector<T>{}; };
      const auto finish = [&](int64_t i, int64_t panel, const Vector<T>& sum) {
        const Vector<T> outside = load(sums_outside.at(i, panel));
        conclude(step, i, panel, outside + place(step, i, panel).read(p.c) * sum);
      };
      wide_products(rows, panels, f.to_candidate_, p.sizes.units, gated, start, finish);
    }

    void conclude(int64_t step, int64_t row, int64_t panel, const Vector<T>& dh) {
      place(step, row, panel).write(p.sequence_out, dh);
      if (step + 1 == p.sizes.steps) {
        Place<T>(p.sizes, 0, first + row, panel).write(p.state_out, dh);
      }
      carry.enter(step + 1, row, panel, dh);
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
  T *to_gates_ = nullptr, *to_candidate_ = nullptr;  // packed
};

}  // namespace
}  // namespace jaxgru
