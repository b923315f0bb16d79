// The GRU over time.
#pragma once

#include "carry.h"
#include "schedule.h"

namespace jaxgru {
namespace {

template <class T>
class Forward {
 public:
  using Problem = ForwardProblem<T>;
  using Number = T;

  // Multiplications of one step and row.
  static int64_t work(const Problem& p) { return 3 * p.sizes.units * (p.sizes.units + p.inputs); }
  static int64_t packed_size(const Problem& p) {
    return jaxgru::packed_size<T>(p.inputs + p.sizes.units + 2, 3, p.sizes.units) +
           wide_size<T>(p.sizes.units, p.sizes.units);
  }
  // What the loop over some rows needs beside the packed matrices.
  static int64_t memory_size(const Problem& p, int64_t rows) {
    const int64_t units = p.sizes.units;
    return Carry<T>::size(rows, units) + 2 * rows * Rows<T>::width_of(units) +
           chunk(p, rows) * rows * 3 * padded<T>(units);
  }

  Forward() = default;
  Forward(const Problem& problem, int64_t most_rows, T* memory)
      : p_(&problem), at_once_(chunk(problem, most_rows)), memory_(memory) {}

  void pack() {
    Allocator<T> allocator(memory_);
    const int64_t units = p_->sizes.units;
    // Of a matrix of some width; zeros for one that is absent.
    const auto elements_of = [](const T* matrix, int64_t width) {
      return [=](int64_t k, int64_t column) { return matrix ? matrix[k * width + column] : T(0); };
    };
    const auto kernel = elements_of(p_->kernel, 3 * units);
    const auto recurrent_kernel = elements_of(p_->recurrent_kernel, 3 * units);
    kernel_ = allocator.take_packed(p_->inputs, 3, units, kernel);
    bias_ = allocator.take_packed(1, 3, units, elements_of(p_->bias, 0));
    candidate_bias_ = allocator.take_packed(1, 1, units, elements_of(p_->candidate_bias, 0));
    to_gates_ = allocator.take_packed(units, p_->reset_after ? 3 : 2, units, recurrent_kernel);
    if (p_->reset_after) return;
    to_candidate_ = allocator.take_wide(units, units, [&](int64_t k, int64_t column) {
      return recurrent_kernel(k, 2 * units + column);
    });
  }

  // Runs some rows and, of all workers on them, this one's panels.
  void run(Range row_range, Range panels, T* memory, const Together& together) const {
    Loop loop(*this, row_range, panels, memory);
    loop.carry.start(loop.rows, panels, p_->h);
    together.wait();
    const int64_t steps = p_->sizes.steps;
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t place = step % at_once_;
      if (place == 0) loop.project(step, steps - step < at_once_ ? steps - step : at_once_);
      if (loop.is_idle(step)) {
        loop.hold(step);
      } else if (p_->reset_after) {
        loop.reset_after(step, place);
      } else {
        loop.gates(step, place);
        together.wait();
        loop.candidate(step, place);
      }
      together.wait();
    }
  }

 private:
  // The steps whose inputs are projected at once, into memory that an inner cache holds.
  static int64_t chunk(const Problem& p, int64_t rows) {
    const int64_t numbers = rows * 3 * padded<T>(p.sizes.units);
    const int64_t fitting = (1 << 14) / (numbers + 1);
    const int64_t steps = fitting < 4 ? 4 : fitting > 64 ? 64 : fitting;
    return p.sizes.steps < steps ? p.sizes.steps : steps;
  }

  struct Loop {
    Loop(const Forward& owner, Range row_range, Range own_panels, T* memory)
        : f(owner),
          p(*owner.p_),
          first(row_range.begin),
          rows(row_range.size()),
          panels(own_panels),
          allocator(memory),
          carry(p.sizes, p.flags, p.reset_to, p.factors, p.reverse, first, rows, allocator),
          updates(allocator.take_rows(rows, p.sizes.units)),
          gated(allocator.take_rows(rows, p.sizes.units)),
          projected(allocator.take(0)) {}

    T* projected_at(int64_t number, int64_t panel) const {
      return projected + (panel * f.at_once_ * rows + number) * 3 * kLanes<T>;
    }

    // The inputs of some steps, each a row of its own.
    void project(int64_t step, int64_t steps) {
      const auto row = [&](int64_t i) {
        return p.xs + (carry.time(step + i / rows) * p.sizes.rows + first + i % rows) * p.inputs;
      };
      const auto start = [&](int64_t, int64_t panel, Vector<T>(&sums)[3]) {
        for (int i = 0; i < 3; ++i) sums[i] = load(f.bias_ + (panel * 3 + i) * kLanes<T>);
      };
      const auto finish = [&](const Tile<T, 3>& tile) {
        tile.each([&](int64_t i, int64_t panel, const Vector<T>(&sums)[3]) {
          for (int j = 0; j < 3; ++j) store(projected_at(i, panel) + j * kLanes<T>, sums[j]);
        });
      };
      products<T, 3>(steps * rows, panels, f.kernel_, p.inputs, row, start, finish);
    }

    // The gates of a held step are computed, where they are asked for.
    bool is_idle(int64_t step) const { return !p.update && carry.all_held(step, rows); }

    void hold(int64_t step) {
      each(rows, panels, [&](int64_t row, int64_t panel) {
        conclude(step, row, panel, Vector<T>{}, Vector<T>{});
      });
    }

    void reset_after(int64_t step, int64_t place) {
      const auto start = [&](int64_t row, int64_t panel, Vector<T>(&sums)[3]) {
        const T* x = projected_at(place * rows + row, panel);
        sums[0] = load(x);
        sums[1] = load(x + kLanes<T>);
        sums[2] = load(f.candidate_bias_ + panel * kLanes<T>);
      };
      // One function after the other over the whole tile: a core then works on several at once.
      const auto finish = [&](const Tile<T, 3>& tile) {
        Vector<T> candidates[Tile<T, 3>::kMost];
        for (int64_t i = 0; i < tile.size(); ++i) {
          tile.sums[i][1] = sigmoid<T>(tile.sums[i][1]);
          tile.sums[i][0] = sigmoid<T>(tile.sums[i][0]);
        }
        Vector<T>* candidate = candidates;
        tile.each([&](int64_t row, int64_t panel, const Vector<T>(&sums)[3]) {
          const T* x = projected_at(place * rows + row, panel);
          *candidate++ = load(x + 2 * kLanes<T>) + sums[1] * sums[2];
        });
        for (int64_t i = 0; i < tile.size(); ++i) candidates[i] = tanh<T>(candidates[i]);
        candidate = candidates;
        tile.each([&](int64_t row, int64_t panel, const Vector<T>(&sums)[3]) {
          keep_reset(step, row, panel, sums[1], sums[2]);
          conclude(step, row, panel, sums[0], *candidate++);
        });
      };
      products<T, 3>(rows, panels, f.to_gates_, p.sizes.units, carry.entering(step), start, finish);
    }

    void gates(int64_t step, int64_t place) {
      const auto start = [&](int64_t row, int64_t panel, Vector<T>(&sums)[2]) {
        const T* x = projected_at(place * rows + row, panel);
        sums[0] = load(x);
        sums[1] = load(x + kLanes<T>);
      };
      const auto finish = [&](const Tile<T, 2>& tile) {
        tile.each([&](int64_t row, int64_t panel, const Vector<T>(&sums)[2]) {
          const Vector<T> inside = load(carry.entering(step).at(row, panel));
          const Vector<T> r = sigmoid<T>(sums[1]);
          keep_reset(step, row, panel, r, inside);
          store(updates.at(row, panel), sigmoid<T>(sums[0]));
          const Vector<T> product = r * inside;
          store(gated.at(row, panel), product);
        });
      };
      products<T, 2>(rows, panels, f.to_gates_, p.sizes.units, carry.entering(step), start, finish);
    }

    void candidate(int64_t step, int64_t place) {
      const auto start = [&](int64_t i, int64_t panel) {
        return load(projected_at(place * rows + i, panel) + 2 * kLanes<T>);
      };
      const auto finish = [&](int64_t i, int64_t panel, const Vector<T>& sum) {
        conclude(step, i, panel, load(updates.at(i, panel)), tanh<T>(sum));
      };
      wide_products(rows, panels, f.to_candidate_, p.sizes.units, gated, start, finish);
    }

    void keep_reset(int64_t step, int64_t row, int64_t panel, const Vector<T>& r,
                    const Vector<T>& inside) const {
      if (!p.reset) return;
      const Place<T> place(p.sizes, carry.time(step), first + row, panel);
      place.write(p.reset, r);
      place.write(p.inside_reset, inside);
    }

    void conclude(int64_t step, int64_t row, int64_t panel, const Vector<T>& z,
                  const Vector<T>& n) {
      Vector<T> h = carry.state(row, panel);
      if (!carry.held(step, row)) h = z * h + (1 - z) * n;
      const Place<T> place(p.sizes, carry.time(step), first + row, panel);
      if (p.ys) place.write(p.ys, h);
      if (p.update) {
        place.write(p.update, z);
        place.write(p.candidate, n);
      }
      if (step + 1 == p.sizes.steps) Place<T>(p.sizes, 0, first + row, panel).write(p.last, h);
      carry.enter(step + 1, row, panel, h);
    }

    const Forward& f;
    const Problem& p;
    int64_t first, rows;
    Range panels;
    Allocator<T> allocator;
    Carry<T> carry;
    Rows<T> updates, gated;  // of reset before: z, and r h
    T* projected;            // panels, steps, rows, gates
  };

  const Problem* p_ = nullptr;
  int64_t at_once_ = 1;
  T* memory_ = nullptr;
  T *kernel_ = nullptr, *bias_ = nullptr, *candidate_bias_ = nullptr;  // packed
  T *to_gates_ = nullptr, *to_candidate_ = nullptr;
};

}  // namespace
}  // namespace jaxgru
