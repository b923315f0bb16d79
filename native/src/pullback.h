// The pullback: all cotangents of a run of the GRU, in one pass backwards.
//
// With l the cotangent of the state after a step, h the state before it, e = h times the factors:
//
//   dz = l (h - n) z (1 - z)    dn = l (1 - z) (1 - n^2)
//   reset after:   di = dn r       dr = dn inside r (1 - r)
//                  back = l z + f ([dz dr di] U')
//   reset before:  q = dn Un'      dr = q e r (1 - r)
//                  back = l z + f (r q + [dz dr] Uzr')
//
//   dU = sum of e' [dz dr di], or of e' [dz dr] and (r e)' dn    dW = sum of x' [dz dr dn]
//   dx = [dz dr dn] W'
//
// A block is some steps of some rows. The recurrence leaves in it, for each step and row, a line of
// these gates; while they are in a cache, the products below read them. A column of ones beside x
// and beside e gives the biases.
//
// Every sum runs over the lines of a block in order, over the blocks in order, and over slabs of
// rows as these are cut: by sizes alone. Results are bit-for-bit identical on any number of
// threads.
#pragma once

#include <algorithm>

#include "arrays.h"

namespace jaxgru {
namespace {

// Rows of the transpose of a matrix: one of its columns each, and one more, of ones.
template <class T>
struct Columns {
  const T* data;
  int64_t width, count, ones;

  const T* operator()(int64_t i) const { return data + (i < count ? i : ones); }
};

template <class T>
int64_t left_stride(const Columns<T>& columns) {
  return columns.width;
}

// Lines as the matrix of a product: C gates of each panel, beside each other.
template <class T>
struct Lines {
  const T* data;
  int64_t width, depth, gate, in_panel;  // numbers of a gate; gates of a panel

  const T* at(int64_t panel) const { return data + panel * panel_stride(); }
  int64_t panel_stride() const { return in_panel * gate; }
  int64_t row_stride() const { return width; }
  int64_t block_stride() const { return gate; }
};

template <class T>
class Pullback {
 public:
  using Problem = PullbackProblem<T>;
  using Number = T;

  // What the gradients of the weights of one group of rows are added up in, panel after panel.
  struct Sums {
    T *recurrent, *candidate, *kernel;
  };

  // The lines of a block of some steps.
  struct Block {
    int64_t first_step, steps;
    Rows<T> entering, gated;         // e, and of reset before r e
    Rows<T> into_gates, into_reset;  // what enters the products with U': of reset before, in two
    Rows<T> into_inputs, inputs;     // what enters those with W', and x
  };

  // Some rows, of whole groups or of one, and how they are run.
  struct Slab {
    Range rows;
    int64_t of_group;  // rows of each group in it
    int64_t groups() const { return rows.size() == of_group ? 1 : rows.size() / of_group; }
  };

  static int64_t packed_size(const Problem& p) {
    return jaxgru::packed_size<T>(3 * padded<T>(p.sizes.units), 1, p.sizes.units) +
           jaxgru::packed_size<T>(3 * padded<T>(p.sizes.units), 1, p.inputs);
  }
  static int64_t sums_size(const Problem& p) {
    return 3 * padded<T>(p.sizes.units) * (p.sizes.units + p.inputs + 2);
  }
  int64_t block_size() const {
    const int64_t units = p_->sizes.units;
    return most_lines_ * (2 * Rows<T>::width_of(units, 3) + Rows<T>::width_of(units) * 3 +
                          Rows<T>::width_of(p_->inputs));
  }
  int64_t carry_size() const { return 3 * most_rows_ * Rows<T>::width_of(p_->sizes.units); }
  int64_t blocks() const { return parts_of(p_->sizes.steps, steps_); }

  Pullback(const Problem& problem, int64_t most_rows, int64_t steps)
      : p_(&problem),
        panels_(panels_of<T>(problem.sizes.units)),
        input_panels_(panels_of<T>(problem.inputs)),
        most_rows_(most_rows),
        steps_(steps),
        most_lines_(most_rows * steps),
        gate_(std::min<int64_t>(problem.sizes.units, kLanes<T>)) {}

  int64_t panels() const { return panels_; }
  int64_t input_panels() const { return p_->of_xs ? input_panels_ : 0; }

  void pack(T* memory) {
    Allocator<T> allocator(memory);
    const auto packed = [&](const T* kernel, int64_t columns, int first, int blocks) {
      const int64_t units = p_->sizes.units, gate = gate_;
      const auto element = [=](int64_t k, int64_t column) {
        const int64_t block = first + k / gate % blocks;
        const int64_t unit = k / (gate * blocks) * gate + k % gate;
        return unit < units ? kernel[column * 3 * units + block * units + unit] : T(0);
      };
      return allocator.template take_packed<1>(blocks * panels_ * gate, columns,
                                               {0, panels_of<T>(columns)}, Layout::by_columns,
                                               element);
    };
    const int64_t units = p_->sizes.units;
    of_gates_ = packed(p_->recurrent_kernel, units, 0, gates());
    if (!p_->reset_after) of_candidate_ = packed(p_->recurrent_kernel, units, 2, 1);
    if (p_->of_xs) of_kernel_ = packed(p_->kernel, p_->inputs, 0, 3);
  }

  Sums sums_at(T* memory) const {
    const int64_t whole = padded<T>(p_->sizes.units), rows = p_->sizes.units + 1;
    return {memory, memory + gates() * whole * rows, memory + 3 * whole * rows};
  }

  Block block(int64_t number, T* memory) const {
    const int64_t units = p_->sizes.units;
    Allocator<T> allocator(memory);
    const auto rows = [&](int64_t width, int blocks = 1) {
      return allocator.take_rows(most_lines_, width, blocks);
    };
    const int64_t first = number * steps_, left = p_->sizes.steps - first;
    return {first,          left < steps_ ? left : steps_,
            rows(units),    rows(units),
            rows(units, 3), rows(units),
            rows(units, 3), rows(p_->inputs)};
  }

  // The recurrence of a slab.
  class Recurrence {
   public:
    Recurrence(const Pullback& owner, const Slab& slab, T* memory)
        : f(owner), p(*owner.p_), slab_(slab), rows_(slab.rows.size()), panels_{0, owner.panels_} {
      Allocator<T> allocator(memory);
      carry_ = allocator.take_rows(owner.most_rows_, p.sizes.units);
      kept_ = allocator.take_rows(owner.most_rows_, p.sizes.units);
      resets_ = allocator.take_rows(owner.most_rows_, p.sizes.units);
      const Place<T> constant(p.sizes, 0, slab.rows.begin);
      each(rows_, panels_, [&](int64_t row, int64_t panel) {
        store(carry_.at(row, panel),
              p.of_last ? constant.read(p.of_last, row, panel) : Vector<T>{});
        store(resets_.at(row, panel), Vector<T>{});
      });
    }

    void run(Block& block) {
      for (int64_t k = 0; k < block.steps; ++k) {
        const int64_t step = block.first_step + k;
        const int64_t t = p.reverse ? step : p.sizes.steps - 1 - step;
        const auto line = [&](int64_t row) {
          const int64_t b = slab_.of_group;
          return b == rows_ ? k * b + row : (row / b * block.steps + k) * b + row % b;
        };
        one(block, step, t, line);
      }
    }

    void finish() const {
      const Place<T> constant(p.sizes, 0, slab_.rows.begin);
      each(rows_, panels_, [&](int64_t row, int64_t panel) {
        if (p.of_h) constant.write(p.of_h, row, panel, load(carry_.at(row, panel)));
        if (p.of_reset_to) constant.write(p.of_reset_to, row, panel, load(resets_.at(row, panel)));
      });
    }

   private:
    template <class Line>
    void one(Block& block, int64_t step, int64_t t, const Line& line) {
      const int64_t first = slab_.rows.begin, units = p.sizes.units;
      const bool* valid = flags_at(p.flags.valid, p.sizes, t, first);
      const bool* resets = flags_at(p.flags.resets, p.sizes, t, first);
      const bool is_first = step + 1 == p.sizes.steps;
      const Place<T> now(p.sizes, t, first), constant(p.sizes, 0, first);
      const Place<T> in_ys = Place<T>::in_sequence(p.sizes, t, first);
      const Place<T> before =
          is_first ? constant : Place<T>::in_sequence(p.sizes, p.reverse ? t + 1 : t - 1, first);
      const T* states = is_first ? p.h : p.ys;
      for (int64_t row = 0; row < rows_; ++row) {
        const int64_t at = line(row);
        const bool held = valid && !valid[row], reset = resets && resets[row];
        if (p.of_recurrent_kernel) copy_inputs(block.inputs(at), t, first + row, held);
        block.entering(at)[padded<T>(units)] = 1;
        for (int64_t panel = 0; panel < f.panels_; ++panel) {
          Vector<T> l = load(carry_.at(row, panel));
          if (p.of_ys) l += in_ys.read(p.of_ys, row, panel);
          if (p.of_steps) now.write(p.of_steps, row, panel, l);
          if (held) {
            hold(block, at, row, panel, l);
            continue;
          }
          Vector<T> h;
          if (!reset) {
            h = before.read(states, row, panel);
          } else {
            h = p.reset_to ? constant.read(p.reset_to, row, panel) : Vector<T>{};
          }
          const Vector<T> e = p.factors ? h * constant.read(p.factors, row, panel) : h;
          const Vector<T> z = now.read(p.update, row, panel), r = now.read(p.reset, row, panel);
          const Vector<T> n = now.read(p.candidate, row, panel);
          const Vector<T> of_n = (1 - z) * (1 - n * n) * l, of_z = (h - n) * (z * (1 - z)) * l;
          store(block.entering.at(at, panel), e);
          store<T>(kept_.at(row, panel), l * z);
          T* inputs = f.gate(block.into_inputs, at, 3 * panel);
          T* gates = f.gate(block.into_gates, at, f.gates() * panel);
          f.put(inputs, of_z);
          f.put(inputs + 2 * f.gate_, of_n);
          f.put(gates, of_z);
          if (p.reset_after) {
            const Vector<T> of_r = of_n * now.read(p.inside_reset, row, panel) * (r * (1 - r));
            f.put(inputs + f.gate_, of_r);
            f.put(gates + f.gate_, of_r);
            f.put(gates + 2 * f.gate_, of_n * r);
          } else {
            store<T>(block.gated.at(at, panel), r * e);
            f.put(f.gate(block.into_reset, at, panel), of_n);
          }
        }
      }
      if (!p.reset_after) through_reset(block, valid, now, line);
      const auto finish = [&](auto& tile) {
        tile.each([&](int64_t row, int64_t panel, int i) {
          Vector<T> back = tile.sums[i][0];
          if (!p.reset_after && !(valid && !valid[row])) {
            back += now.read(p.reset, row, panel) * load(carry_.at(row, panel));
          }
          if (p.factors) back *= constant.read(p.factors, row, panel);
          back += load(kept_.at(row, panel));
          if (resets && resets[row]) {
            store<T>(resets_.at(row, panel), load(resets_.at(row, panel)) + back);
            back = Vector<T>{};
          }
          store(carry_.at(row, panel), back);
        });
      };
      const auto left = [&](int64_t row) { return block.into_gates(line(row)); };
      products<T, 1, 4>(rows_, panels_, step % 2, f.of_gates_, left, Zero<T, 1>(), finish);
    }

    // Of reset before: the cotangent of r e, in place of the carry, and from it that of r.
    template <class Line>
    void through_reset(Block& block, const bool* valid, const Place<T>& now, const Line& line) {
      const auto finish = [&](auto& tile) {
        tile.each([&](int64_t row, int64_t panel, int i) {
          const Vector<T> q = tile.sums[i][0];
          store(carry_.at(row, panel), q);
          if (valid && !valid[row]) return;
          const int64_t at = line(row);
          const Vector<T> r = now.read(p.reset, row, panel);
          const Vector<T> of_r = q * load(block.entering.at(at, panel)) * (r * (1 - r));
          f.put(f.gate(block.into_gates, at, 2 * panel + 1), of_r);
          f.put(f.gate(block.into_inputs, at, 3 * panel + 1), of_r);
        });
      };
      const auto left = [&](int64_t row) { return block.into_reset(line(row)); };
      products<T, 1, 4>(rows_, panels_, false, f.of_candidate_, left, Zero<T, 1>(), finish);
    }

    void hold(Block& block, int64_t at, int64_t row, int64_t panel, const Vector<T>& l) {
      const Vector<T> zero{};
      store(kept_.at(row, panel), l);
      store(block.entering.at(at, panel), zero);
      for (int i = 0; i < 3; ++i) f.put(f.gate(block.into_inputs, at, 3 * panel + i), zero);
      for (int i = 0; i < f.gates(); ++i) {
        f.put(f.gate(block.into_gates, at, f.gates() * panel + i), zero);
      }
      if (p.reset_after) return;
      store(block.gated.at(at, panel), zero);
      f.put(f.gate(block.into_reset, at, panel), zero);
    }

    // The inputs of a held step may be anything.
    void copy_inputs(T* to, int64_t t, int64_t row, bool held) const {
      const T* from = p.xs + p.sizes.in_sequence(t, row) * p.inputs;
      for (int64_t i = 0; i < p.inputs; i += kLanes<T>) {
        store(to + i, held ? Vector<T>{} : load(from + i, p.inputs - i), p.inputs - i);
      }
      to[p.inputs] = 1;
    }

    const Pullback& f;
    const Problem& p;
    Slab slab_;
    int64_t rows_;
    Range panels_;
    Rows<T> carry_, kept_, resets_;  // kept: what does not pass through a product
  };

  // Adds some panels of the gradients of the weights, of each group of a slab, from a block.
  void add_weights(const Block& block, const Slab& slab, Range panels, T* sums) const {
    if (!p_->of_recurrent_kernel) return;
    const int64_t units = p_->sizes.units, depth = block.steps * slab.of_group;
    for (int64_t group = 0; group < slab.groups(); ++group, sums += sums_size(*p_)) {
      const Sums to = sums_at(sums);
      const int64_t first = group * depth;
      const auto columns = [&](const Rows<T>& rows, int64_t count, int64_t ones) {
        return Columns<T>{rows(first), rows.width, count, ones};
      };
      const auto lines = [&](const Rows<T>& rows, int in_panel) {
        return Lines<T>{rows(first), rows.width, depth, gate_, in_panel};
      };
      const auto entering = columns(block.entering, units, padded<T>(units));
      if (p_->reset_after) {
        add<3>(to.recurrent, units + 1, panels, entering, lines(block.into_gates, 3));
      } else {
        add<2>(to.recurrent, units + 1, panels, entering, lines(block.into_gates, 2));
        const auto gated = columns(block.gated, units, 0);
        add<1>(to.candidate, units, panels, gated, lines(block.into_reset, 1));
      }
      const auto inputs = columns(block.inputs, p_->inputs, p_->inputs);
      add<3>(to.kernel, p_->inputs + 1, panels, inputs, lines(block.into_inputs, 3));
    }
  }

  // Writes some panels of the cotangents of the inputs, from a block.
  void write_inputs(const Block& block, const Slab& slab, Range panels) const {
    const int64_t b = slab.of_group;
    const auto row = [&](int64_t line) { return block.into_inputs(line); };
    const auto finish = [&](auto& tile) {
      tile.each([&](int64_t line, int64_t panel, int i) {
        const int64_t row = b == 1 ? 0 : line % b;
        int64_t k = b == 1 ? line : line / b, group = 0;
        if (slab.groups() > 1) {
          group = k / block.steps;
          k %= block.steps;
        }
        const int64_t step = block.first_step + k;
        const int64_t t = p_->reverse ? step : p_->sizes.steps - 1 - step;
        const int64_t at = p_->sizes.in_sequence(t, slab.rows.begin + group * b + row);
        const int64_t first = panel * kLanes<T>;
        store(p_->of_xs + at * p_->inputs + first, tile.sums[i][0], p_->inputs - first);
      });
    };
    products<T, 1>(block.steps * slab.rows.size(), panels, false, of_kernel_, row, Zero<T, 1>(),
                   finish);
  }

  // Writes the gradients of the weights of a group, from the sums of its bins.
  void write_weights(int64_t group, const T* sums, int64_t bins) const {
    if (!p_->of_recurrent_kernel) return;
    const int64_t units = p_->sizes.units, distance = sums_size(*p_), width = 3 * units;
    const Sums of = sums_at(const_cast<T*>(sums));
    const auto write = [&](const T* from, int blocks, int first, int64_t rows, int64_t row, T* to) {
      for (int64_t panel = 0; to && panel < panels_; ++panel) {
        for (int block = 0; block < blocks; ++block) {
          const T* at = from + ((panel * rows + row) * blocks + block) * kLanes<T>;
          Vector<T> sum = load(at);
          for (int64_t bin = 1; bin < bins; ++bin) sum += load(at + bin * distance);
          const int64_t column = panel * kLanes<T>;
          store(to + (first + block) * units + column, sum, units - column);
        }
      }
    };
    T* recurrent = p_->of_recurrent_kernel + group * units * width;
    for (int64_t i = 0; i < units; ++i) {
      write(of.recurrent, gates(), 0, units + 1, i, recurrent + i * width);
      if (!p_->reset_after) write(of.candidate, 1, 2, units, i, recurrent + i * width);
    }
    T* kernel = p_->of_kernel + group * p_->inputs * width;
    for (int64_t i = 0; i < p_->inputs; ++i) {
      write(of.kernel, 3, 0, p_->inputs + 1, i, kernel + i * width);
    }
    T* bias = p_->of_bias ? p_->of_bias + group * width : nullptr;
    write(of.kernel, 3, 0, p_->inputs + 1, p_->inputs, bias);
    if (p_->of_candidate_bias == nullptr) return;
    for (int64_t panel = 0; panel < panels_; ++panel) {
      const T* at = of.recurrent + ((panel * (units + 1) + units) * 3 + 2) * kLanes<T>;
      Vector<T> sum = load(at);
      for (int64_t bin = 1; bin < bins; ++bin) sum += load(at + bin * distance);
      const int64_t column = panel * kLanes<T>;
      store(p_->of_candidate_bias + group * units + column, sum, units - column);
    }
  }

 private:
  int gates() const { return p_->reset_after ? 3 : 2; }

  // The gates of a line lie beside each other: whole vectors, or the units of a layer of fewer, as
  // a product with spare zeros takes as long as one with numbers.
  T* gate(const Rows<T>& lines, int64_t line, int64_t number) const {
    return lines(line) + number * gate_;
  }
  void put(T* gate, const Vector<T>& v) const { store(gate, v, gate_); }

  // Adds a product of columns with lines to sums, which lie as panels of rows.
  template <int C>
  static void add(T* sums, int64_t rows, Range panels, const Columns<T>& columns,
                  const Lines<T>& lines) {
    const auto at = [=](int64_t row, int64_t panel) {
      return sums + (panel * rows + row) * C * kLanes<T>;
    };
    // The sums are asked for while the product is computed.
    const auto start = [&](int64_t row, int64_t panel) {
      for (int c = 0; c < C; ++c) __builtin_prefetch(at(row, panel) + c * kLanes<T>, 1);
      return jaxgru::Sums<T, C>{};
    };
    const auto finish = [&](auto& tile) {
      tile.each([&](int64_t row, int64_t panel, int i) {
        for (int c = 0; c < C; ++c) {
          T* sum = at(row, panel) + c * kLanes<T>;
          store<T>(sum, load(sum) + tile.sums[i][c]);
        }
      });
    };
    for (int64_t first = 0; first < lines.depth; first += kLinesInSum) {
      const int64_t left = lines.depth - first;
      const Columns<T> some{columns.data + first * columns.width, columns.width, columns.count,
                            columns.ones};
      const Lines<T> of_some{lines.data + first * lines.width, lines.width,
                             left < kLinesInSum ? left : kLinesInSum, lines.gate, lines.in_panel};
      products<T, C>(rows, panels, false, of_some, some, start, finish);
    }
  }

  // So many lines are added up before they are added to what is there: a long sum, in order, would
  // round as often as it has terms.
  static constexpr int64_t kLinesInSum = 128;

  const Problem* p_;
  int64_t panels_, input_panels_, most_rows_, steps_, most_lines_;
  int64_t gate_;  // numbers of a gate in a panel of lines
  Packed<T, 1> of_gates_, of_candidate_, of_kernel_;
};

}  // namespace
}  // namespace jaxgru
