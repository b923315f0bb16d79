// The GRU over time.
#pragma once

#include "carry.h"
#include "schedule.h"

namespace jaxgru {
namespace {

// Steps times rows for which matrices are not worth packing.
constexpr int64_t kMinToPack = 16;

template <class T>
class Forward {
 public:
  using Problem = ForwardProblem<T>;
  using Number = T;

  // Multiplications of one step and row.
  static int64_t work(const Problem& p) { return 3 * p.sizes.units * (p.sizes.units + p.inputs); }
  static int64_t packed_size(const Problem& p) {
    return jaxgru::packed_size<T>(p.inputs + p.sizes.units + 2, 3, p.sizes.units);
  }
  // The buffers of the loop over some rows, beside the packed matrices.
  static int64_t memory_size(const Problem& p, int64_t rows) {
    const int64_t units = p.sizes.units;
    return Carry<T>::size(rows, units) + 2 * rows * Rows<T>::width_of(units) +
           chunk(p, rows) * rows * 3 * padded<T>(units);
  }

  Forward() = default;
  Forward(const Problem& problem, int64_t most_rows, T* memory)
      : p_(&problem), at_once_(chunk(problem, most_rows)), memory_(memory) {}

  // Packs some panels of the matrices; memory and its parts are the same for all panels.
  void pack(Range panels) {
    Allocator<T> allocator(memory_);
    const int64_t units = p_->sizes.units;
    const auto vector = [](const T* numbers) {
      return [=](int64_t, int64_t column) { return numbers ? numbers[column] : T(0); };
    };
    bias_ = allocator.template take_packed<3>(1, units, panels, Layout::by_rows, vector(p_->bias));
    candidate_bias_ = allocator.template take_packed<1>(1, units, panels, Layout::by_rows,
                                                        vector(p_->candidate_bias));
    kernel_ = take_matrix<3>(allocator, p_->kernel, p_->inputs, panels);
    if (p_->reset_after) {
      to_gates_ = take_matrix<3>(allocator, p_->recurrent_kernel, units, panels);
    } else {
      to_reset_ = take_matrix<2>(allocator, p_->recurrent_kernel, units, panels);
      to_candidate_ = take_matrix<1>(allocator, p_->recurrent_kernel + 2 * units, units, panels);
    }
  }

  // The same packed matrices for another problem.
  Forward on(const Problem& problem, int64_t most_rows) const {
    Forward other = *this;
    other.p_ = &problem;
    other.at_once_ = chunk(problem, most_rows);
    return other;
  }

  // Runs some rows and, of all workers on them, this one's panels.
  void run(Range row_range, Range panels, T* memory, const TeamBarrier& together) const {
    Loop loop(*this, row_range, panels, memory);
    loop.carry.start(panels, p_->h);
    together.wait();
    const int64_t steps = p_->sizes.steps;
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t place = step % at_once_;
      if (place == 0) loop.project(step, steps - step < at_once_ ? steps - step : at_once_);
      loop.begin(step, place);
      if (loop.is_idle()) {
        loop.hold();
      } else if (p_->reset_after) {
        loop.reset_after();
      } else {
        loop.gates();
        together.wait();
        loop.candidate();
      }
      together.wait();
    }
    loop.carry.finish(panels, p_->last);
  }

 private:
  // Columns of a kernel, packed for some panels unless they are read too rarely.
  template <int C>
  Matrix<T, C> take_matrix(Allocator<T>& allocator, const T* columns, int64_t depth,
                           Range panels) const {
    const int64_t units = p_->sizes.units, width = 3 * units;
    Matrix<T, C> matrix;
    if (p_->sizes.steps * p_->sizes.rows <= kMinToPack && units % kLanes<T> == 0) {
      matrix.unpacked = {columns, depth, units, width};
    } else {
      const auto element = [=](int64_t k, int64_t column) { return columns[k * width + column]; };
      matrix.packed =
          allocator.template take_packed<C>(depth, units, panels, Layout::by_rows, element);
    }
    return matrix;
  }

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

    // The inputs of some steps, one row for each.
    void project(int64_t step, int64_t steps) {
      const auto row = [&](int64_t i) {
        return p.xs + p.sizes.in_sequence(carry.time(step + i / rows), first + i % rows) * p.inputs;
      };
      const auto start = [&](int64_t, int64_t panel) {
        const T* bias = f.bias_.at(panel);
        return Sums<T, 3>{load(bias), load(bias + kLanes<T>), load(bias + 2 * kLanes<T>)};
      };
      const auto finish = [&](auto& tile) {
        tile.each([&](int64_t number, int64_t panel, int i) {
          T* x = projected_at(number, panel);
          for (int j = 0; j < 3; ++j) store(x + j * kLanes<T>, tile.sums[i][j]);
        });
      };
      f.kernel_.with([&](const auto& matrix) {
        products<T, 3>(steps * rows, panels, false, matrix, row, start, finish);
      });
    }

    // Advances to a step, whose inputs are at a position in the chunk.
    void begin(int64_t step, int64_t place) {
      carry.begin(step);
      first_input = place * rows;
    }

    // The gates of a held step are computed if they are requested.
    bool is_idle() const { return !p.update && carry.all_held(); }

    void hold() {
      each(rows, panels,
           [&](int64_t row, int64_t panel) { conclude(row, panel, Vector<T>{}, Vector<T>{}); });
    }

    void reset_after() {
      const auto start = [&](int64_t row, int64_t panel) {
        const T* x = projected_at(first_input + row, panel);
        return Sums<T, 3>{load(x), load(x + kLanes<T>), load(f.candidate_bias_.at(panel))};
      };
      // One function after the other over the whole tile: a core then works on several at once.
      const auto finish = [&](auto& tile) {
        for (auto& sums : tile.sums) sums[1] = sigmoid<T>(sums[1]);
        tile.each([&](int64_t row, int64_t panel, int i) {
          auto& [z, r, inside] = tile.sums[i];
          keep_reset(row, panel, r, inside);
          inside = load(projected_at(first_input + row, panel) + 2 * kLanes<T>) + r * inside;
        });
        for (auto& sums : tile.sums) sums[0] = sigmoid<T>(sums[0]);
        for (auto& sums : tile.sums) sums[2] = tanh<T>(sums[2]);
        tile.each([&](int64_t row, int64_t panel, int i) {
          conclude(row, panel, tile.sums[i][0], tile.sums[i][2]);
        });
      };
      multiply<3>(f.to_gates_, carry.entering(), start, finish);
    }

    void gates() {
      const auto start = [&](int64_t row, int64_t panel) {
        const T* x = projected_at(first_input + row, panel);
        return Sums<T, 2>{load(x), load(x + kLanes<T>)};
      };
      const auto finish = [&](auto& tile) {
        for (auto& sums : tile.sums) sums[1] = sigmoid<T>(sums[1]);
        for (auto& sums : tile.sums) sums[0] = sigmoid<T>(sums[0]);
        tile.each([&](int64_t row, int64_t panel, int i) {
          const auto& [z, r] = tile.sums[i];
          const Vector<T> inside = load(carry.entering().at(row, panel));
          keep_reset(row, panel, r, inside);
          store(updates.at(row, panel), z);
          store<T>(gated.at(row, panel), r * inside);
        });
      };
      multiply<2>(f.to_reset_, carry.entering(), start, finish);
    }

    void candidate() {
      const auto start = [&](int64_t row, int64_t panel) {
        return Sums<T, 1>{load(projected_at(first_input + row, panel) + 2 * kLanes<T>)};
      };
      const auto finish = [&](auto& tile) {
        for (auto& sums : tile.sums) sums[0] = tanh<T>(sums[0]);
        tile.each([&](int64_t row, int64_t panel, int i) {
          conclude(row, panel, load(updates.at(row, panel)), tile.sums[i][0]);
        });
      };
      multiply<1>(f.to_candidate_, gated, start, finish);
    }

    template <int C, class Start, class Finish>
    void multiply(const Matrix<T, C>& by_matrix, const Rows<T>& by, const Start& start,
                  const Finish& finish) {
      by_matrix.with([&](const auto& matrix) {
        products<T, C>(rows, panels, carry.backwards(), matrix, by, start, finish);
      });
    }

    void keep_reset(int64_t row, int64_t panel, const Vector<T>& r, const Vector<T>& inside) const {
      if (!p.reset) return;
      carry.place().write(p.reset, row, panel, r);
      carry.place().write(p.inside_reset, row, panel, inside);
    }

    __attribute__((always_inline)) void conclude(int64_t row, int64_t panel, const Vector<T>& z,
                                                 const Vector<T>& n) {
      Vector<T> h = carry.state(row, panel);
      if (!carry.held(row)) h = z * h + (1 - z) * n;
      if (p.ys) carry.in_sequence().write(p.ys, row, panel, h);
      if (p.update) {
        carry.place().write(p.update, row, panel, z);
        carry.place().write(p.candidate, row, panel, n);
      }
      carry.enter(row, panel, h);
    }

    const Forward& f;
    const Problem& p;
    int64_t first, rows;
    Range panels;
    Allocator<T> allocator;
    Carry<T> carry;
    Rows<T> updates, gated;   // of reset before: z, and r h
    T* projected;             // panels, steps, rows, gates
    int64_t first_input = 0;  // of the rows of the present step, in these
  };

  const Problem* p_ = nullptr;
  int64_t at_once_ = 1;
  T* memory_ = nullptr;
  Packed<T, 3> bias_;
  Packed<T, 1> candidate_bias_;
  Matrix<T, 3> kernel_;
  Matrix<T, 3> to_gates_;      // of reset after
  Matrix<T, 2> to_reset_;      // of reset before: update and reset gate
  Matrix<T, 1> to_candidate_;  // and the candidate
};

}  // namespace
}  // namespace jaxgru
