// The loops against plain ones in double precision, on random problems; run under sanitizers.
//
// Every array has exactly the size that its problem names, so that AddressSanitizer sees a read or
// write beyond it. Sizes are around those of vectors and tiles: 1, one less, one more. Then what
// must be bit-for-bit identical: a row alone and in a batch, one thread and several, several
// callers.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "kernel.h"
#include "threads.h"

namespace jaxgru {

namespace {

using Random = std::mt19937;

int failures = 0;

void expect(bool holds, const char* what, const Sizes& sizes, const char* kernel) {
  if (holds) return;
  ++failures;
  std::printf("FAILED: %s of %s, %ld steps, %ld rows, %ld units\n", what, kernel,
              static_cast<long>(sizes.steps), static_cast<long>(sizes.rows),
              static_cast<long>(sizes.units));
}

// Arrays that live as long as the problem that points to them.
template <class T>
class Arena {
 public:
  explicit Arena(Random& random) : random_(random) {}

  T* numbers(int64_t count, double scale = 1) {
    arrays_.emplace_back(new T[count]);
    std::normal_distribution<double> normal(0, scale);
    for (int64_t i = 0; i < count; ++i) arrays_.back()[i] = static_cast<T>(normal(random_));
    return arrays_.back().get();
  }
  T* maybe(int64_t count, double scale = 1) { return coin() ? numbers(count, scale) : nullptr; }
  const bool* maybe_flags(int64_t count, double probability) {
    if (!coin()) return nullptr;
    flags_.emplace_back(new bool[count]);
    std::bernoulli_distribution flag(probability);
    for (int64_t i = 0; i < count; ++i) flags_.back()[i] = flag(random_);
    return flags_.back().get();
  }
  bool coin() { return std::bernoulli_distribution(0.5)(random_); }

 private:
  Random& random_;
  std::vector<std::unique_ptr<T[]>> arrays_;
  std::vector<std::unique_ptr<bool[]>> flags_;
};

template <class T>
double at(const T* array, int64_t i, double otherwise) {
  return array ? static_cast<double>(array[i]) : otherwise;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Worst {
  double error = 0;
  void see(double found, double expected) {
    const double here = std::abs(found - expected) / std::max(1.0, std::abs(expected));
    if (!(here <= error)) error = here;  // NaN too
  }
};

template <class T>
ForwardProblem<T> random_forward(Arena<T>& arena, Sizes sizes, int64_t inputs) {
  const auto [steps, rows, units, batch_major] = sizes;
  const double scale = 1 / std::sqrt(static_cast<double>(units + inputs));
  ForwardProblem<T> p;
  p.sizes = sizes;
  p.inputs = inputs;
  p.reset_after = arena.coin();
  p.reverse = arena.coin();
  p.flags.valid = arena.maybe_flags(steps * rows, 0.7);
  p.flags.resets = arena.maybe_flags(steps * rows, 0.3);
  p.xs = arena.numbers(steps * rows * inputs);
  p.kernel = arena.numbers(inputs * 3 * units, scale);
  p.recurrent_kernel = arena.numbers(units * 3 * units, scale);
  p.bias = arena.maybe(3 * units);
  p.candidate_bias = p.reset_after ? arena.maybe(units) : nullptr;
  p.h = arena.numbers(rows * units);
  p.reset_to = p.flags.resets ? arena.numbers(rows * units) : nullptr;
  p.factors = arena.maybe(rows * units);
  p.last = arena.numbers(rows * units);
  p.ys = arena.maybe(steps * rows * units);
  if (arena.coin()) {
    p.update = arena.numbers(steps * rows * units);
    p.reset = arena.numbers(steps * rows * units);
    p.candidate = arena.numbers(steps * rows * units);
    p.inside_reset = arena.numbers(steps * rows * units);
  }
  return p;
}

// Where the row of a sequence lies.
int64_t place_of(const Sizes& sizes, int64_t t, int64_t row) {
  return sizes.batch_major ? row * sizes.steps + t : t * sizes.rows + row;
}

template <class T>
double forward_error(const ForwardProblem<T>& p) {
  const int64_t steps = p.sizes.steps, rows = p.sizes.rows, H = p.sizes.units;
  Worst worst;
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<double> h(H), entering(H), gated(H), z(H), r(H), inside(H);
    for (int64_t u = 0; u < H; ++u) h[u] = p.h[row * H + u];
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t t = p.reverse ? steps - 1 - step : step, place = t * rows + row;
      const int64_t in_sequence = place_of(p.sizes, t, row);
      const bool held = p.flags.valid && !p.flags.valid[place];
      const auto product = [&](const std::vector<double>& left, int64_t column) {
        double sum = 0;
        for (int64_t k = 0; k < H; ++k) sum += left[k] * p.recurrent_kernel[k * 3 * H + column];
        return sum;
      };
      const auto projected = [&](int64_t column) {
        double sum = at(p.bias, column, 0);
        for (int64_t i = 0; i < p.inputs; ++i) {
          sum +=
              static_cast<double>(p.xs[in_sequence * p.inputs + i]) * p.kernel[i * 3 * H + column];
        }
        return sum;
      };
      for (int64_t u = 0; u < H; ++u) {
        if (p.flags.resets && p.flags.resets[place]) h[u] = p.reset_to[row * H + u];
        entering[u] = held ? 0 : h[u] * at(p.factors, row * H + u, 1);
      }
      for (int64_t u = 0; u < H; ++u) {
        z[u] = sigmoid(projected(u) + product(entering, u));
        r[u] = sigmoid(projected(H + u) + product(entering, H + u));
        inside[u] =
            p.reset_after ? product(entering, 2 * H + u) + at(p.candidate_bias, u, 0) : entering[u];
        gated[u] = r[u] * inside[u];
      }
      for (int64_t u = 0; u < H; ++u) {
        const double into = p.reset_after ? gated[u] : product(gated, 2 * H + u);
        const double n = std::tanh(projected(2 * H + u) + into);
        if (!held) h[u] = z[u] * h[u] + (1 - z[u]) * n;
        const int64_t i = place * H + u;
        if (p.ys) worst.see(p.ys[in_sequence * H + u], h[u]);
        if (!p.update) continue;
        worst.see(p.update[i], z[u]);
        worst.see(p.reset[i], r[u]);
        worst.see(p.candidate[i], n);
        worst.see(p.inside_reset[i], inside[u]);
      }
    }
    for (int64_t u = 0; u < H; ++u) worst.see(p.last[row * H + u], h[u]);
  }
  return worst.error;
}

template <class T>
LinearProblem<T> random_linear(Arena<T>& arena, Sizes sizes) {
  const auto [steps, rows, units, batch_major] = sizes;
  const int64_t count = steps * rows * units;
  LinearProblem<T> p;
  p.sizes = sizes;
  p.reverse = arena.coin();
  p.flags.valid = arena.maybe_flags(steps * rows, 0.7);
  p.flags.resets = arena.maybe_flags(steps * rows, 0.3);
  const auto coefficient = [&, of_row = units](double where_held) {
    T* numbers = arena.numbers(count, 0.5);
    for (int64_t i = 0; p.flags.valid && i < count; ++i) {
      if (!p.flags.valid[i / of_row]) numbers[i] = static_cast<T>(where_held);
    }
    return numbers;
  };
  p.z = coefficient(1);
  p.a = coefficient(0);
  p.b = coefficient(0);
  p.c = coefficient(0);
  p.r = arena.coin() ? coefficient(0) : nullptr;
  p.transposed_kernel = arena.numbers(3 * units * units, 1 / std::sqrt(static_cast<double>(units)));
  p.factors = arena.maybe(rows * units);
  p.sequence = arena.numbers(count);
  p.state = arena.numbers(rows * units);
  p.state_out = arena.numbers(rows * units);
  p.sequence_out = arena.numbers(count);
  return p;
}

// One step of one row of the linear recurrence.
template <class T>
struct LinearStep {
  const LinearProblem<T>& p;
  int64_t row, place, H;

  double u(int64_t gate, int64_t from, int64_t to) const {
    return p.transposed_kernel[(gate * H + to) * H + from];
  }
  double of(const T* array, int64_t unit) const { return array[place * H + unit]; }
  bool reset() const { return p.flags.resets && p.flags.resets[place]; }

  std::vector<double> linear(std::vector<double> state) const {
    std::vector<double> entering(H), inner(H), next(H);
    for (int64_t i = 0; i < H; ++i) {
      if (reset()) state[i] = 0;
      entering[i] = state[i] * at(p.factors, row * H + i, 1);
    }
    const auto product = [&](const std::vector<double>& left, int64_t gate, int64_t to) {
      double sum = 0;
      for (int64_t k = 0; k < H; ++k) sum += left[k] * u(gate, k, to);
      return sum;
    };
    for (int64_t i = 0; i < H && p.r; ++i) {
      inner[i] = of(p.r, i) * entering[i] + of(p.b, i) * product(entering, 1, i);
    }
    for (int64_t i = 0; i < H; ++i) {
      next[i] = of(p.z, i) * state[i] + of(p.a, i) * product(entering, 0, i) + of(p.sequence, i);
      next[i] += of(p.c, i) * product(p.r ? inner : entering, 2, i);
      if (!p.r) next[i] += of(p.b, i) * product(entering, 1, i);
    }
    return next;
  }
};

template <class T>
double linear_error(const LinearProblem<T>& p) {
  const int64_t steps = p.sizes.steps, rows = p.sizes.rows, H = p.sizes.units;
  Worst worst;
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<double> state(p.state + row * H, p.state + (row + 1) * H);
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t t = p.reverse ? steps - 1 - step : step;
      const LinearStep<T> at_step{p, row, t * rows + row, H};
      state = at_step.linear(state);
      for (int64_t i = 0; i < H; ++i) worst.see(at_step.of(p.sequence_out, i), state[i]);
    }
    for (int64_t i = 0; i < H; ++i) worst.see(p.state_out[row * H + i], state[i]);
  }
  return worst.error;
}

// Gates are any numbers: the pullback is linear in the cotangents, whatever they are.
template <class T>
PullbackProblem<T> random_pullback(Arena<T>& arena, Sizes sizes, int64_t inputs) {
  const auto [steps, rows, units, batch_major] = sizes;
  const int64_t count = steps * rows * units, state = rows * units;
  const double scale = 1 / std::sqrt(static_cast<double>(units + inputs));
  PullbackProblem<T> p;
  p.sizes = sizes;
  p.inputs = inputs;
  for (const int64_t groups : {2, 3, static_cast<int>(rows)}) {
    if (groups > 0 && rows % groups == 0 && arena.coin()) p.groups = groups;
  }
  p.reset_after = arena.coin();
  p.reverse = arena.coin();
  p.flags.valid = arena.maybe_flags(steps * rows, 0.7);
  p.flags.resets = arena.maybe_flags(steps * rows, 0.3);
  p.xs = arena.numbers(steps * rows * inputs);
  p.kernel = arena.numbers(inputs * 3 * units, scale);
  p.recurrent_kernel = arena.numbers(units * 3 * units, scale);
  p.h = arena.numbers(state);
  p.reset_to = p.flags.resets ? arena.maybe(state) : nullptr;
  p.factors = arena.maybe(state);
  p.ys = arena.numbers(count);
  p.update = arena.numbers(count, 0.5);
  p.reset = arena.numbers(count, 0.5);
  p.candidate = arena.numbers(count, 0.5);
  p.inside_reset = arena.numbers(count, 0.5);
  p.of_last = arena.maybe(state);
  p.of_ys = arena.maybe(count);
  if (arena.coin()) {
    p.of_kernel = arena.numbers(p.groups * inputs * 3 * units);
    p.of_recurrent_kernel = arena.numbers(p.groups * units * 3 * units);
    p.of_bias = arena.maybe(p.groups * 3 * units);
    if (p.reset_after) p.of_candidate_bias = arena.maybe(p.groups * units);
  }
  p.of_xs = arena.maybe(steps * rows * inputs);
  p.of_h = arena.maybe(state);
  p.of_reset_to = arena.maybe(state);
  p.of_steps = arena.maybe(count);
  return p;
}

// Of everything that a pullback writes, relative to sums of so many terms.
template <class T>
double pullback_error(const PullbackProblem<T>& p) {
  const int64_t steps = p.sizes.steps, rows = p.sizes.rows, H = p.sizes.units, I = p.inputs;
  const auto u = [&](int64_t gate, int64_t from, int64_t to) -> double {
    return p.recurrent_kernel[(from * 3 + gate) * H + to];
  };
  std::vector<double> kernel(p.groups * I * 3 * H), recurrent(p.groups * H * 3 * H);
  std::vector<double> bias(p.groups * 3 * H), candidate(p.groups * H);
  Worst worst;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t group = row / (rows / p.groups);
    std::vector<double> l(H), to_reset(H);
    for (int64_t i = 0; i < H; ++i) l[i] = at(p.of_last, row * H + i, 0);
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t t = p.reverse ? step : steps - 1 - step, place = t * rows + row;
      const int64_t in_sequence = place_of(p.sizes, t, row);
      const int64_t earlier = place_of(p.sizes, p.reverse ? t + 1 : t - 1, row);
      const bool held = p.flags.valid && !p.flags.valid[place];
      const bool reset = p.flags.resets && p.flags.resets[place];
      std::vector<double> e(H), h(H), inner(H), back(l), gates[3];
      for (auto& gate : gates) gate.resize(H);
      for (int64_t i = 0; i < H; ++i) {
        l[i] += at(p.of_ys, in_sequence * H + i, 0);
        back[i] = l[i];
        if (p.of_steps) worst.see(p.of_steps[place * H + i], l[i]);
        h[i] = step + 1 == steps ? p.h[row * H + i] : p.ys[earlier * H + i];
        if (reset) h[i] = at(p.reset_to, row * H + i, 0);
        e[i] = h[i] * at(p.factors, row * H + i, 1);
      }
      if (!held) {
        const auto of = [&](const T* gate, int64_t i) -> double { return gate[place * H + i]; };
        for (int64_t i = 0; i < H; ++i) {
          const double z = of(p.update, i), n = of(p.candidate, i);
          gates[0][i] = l[i] * (h[i] - n) * z * (1 - z);
          gates[2][i] = l[i] * (1 - z) * (1 - n * n);
        }
        for (int64_t i = 0; i < H && !p.reset_after; ++i) {
          for (int64_t k = 0; k < H; ++k) inner[i] += gates[2][k] * u(2, i, k);
        }
        for (int64_t i = 0; i < H; ++i) {
          const double r = of(p.reset, i), slope = r * (1 - r);
          gates[1][i] =
              slope * (p.reset_after ? gates[2][i] * of(p.inside_reset, i) : inner[i] * e[i]);
        }
        for (int64_t i = 0; i < H; ++i) {
          double sum = p.reset_after ? 0 : of(p.reset, i) * inner[i];
          for (int64_t k = 0; k < H; ++k) {
            sum += gates[0][k] * u(0, i, k) + gates[1][k] * u(1, i, k);
            if (p.reset_after) sum += gates[2][k] * of(p.reset, k) * u(2, i, k);
          }
          back[i] = l[i] * of(p.update, i) + at(p.factors, row * H + i, 1) * sum;
        }
        for (int64_t gate = 0; gate < 3; ++gate) {
          for (int64_t j = 0; j < H; ++j) {
            const int64_t column = gate * H + j;
            const double r = of(p.reset, j), inside = gates[gate][j];
            bias[group * 3 * H + column] += inside;
            if (gate == 2) candidate[group * H + j] += inside * r;
            for (int64_t i = 0; i < I; ++i) {
              kernel[(group * I + i) * 3 * H + column] += p.xs[in_sequence * I + i] * inside;
            }
            for (int64_t i = 0; i < H; ++i) {
              double left = e[i];
              if (gate == 2) left *= p.reset_after ? r : of(p.reset, i);
              recurrent[(group * H + i) * 3 * H + column] += left * inside;
            }
          }
        }
      }
      for (int64_t i = 0; i < I && p.of_xs; ++i) {
        double sum = 0;
        for (int64_t gate = 0; gate < 3; ++gate) {
          for (int64_t k = 0; k < H; ++k) sum += gates[gate][k] * p.kernel[(i * 3 + gate) * H + k];
        }
        worst.see(p.of_xs[in_sequence * I + i], sum);
      }
      for (int64_t i = 0; i < H; ++i) {
        if (reset) to_reset[i] += back[i];
        l[i] = reset ? 0 : back[i];
      }
    }
    for (int64_t i = 0; i < H; ++i) {
      if (p.of_h) worst.see(p.of_h[row * H + i], l[i]);
      if (p.of_reset_to) worst.see(p.of_reset_to[row * H + i], to_reset[i]);
    }
  }
  const auto see = [&](const T* found, const std::vector<double>& expected) {
    for (size_t i = 0; found && i < expected.size(); ++i) worst.see(found[i], expected[i]);
  };
  see(p.of_kernel, kernel);
  see(p.of_recurrent_kernel, recurrent);
  see(p.of_bias, bias);
  see(p.of_candidate_bias, candidate);
  return worst.error;
}

// Sums of some hundred terms, through some steps.
template <class T>
constexpr double kTolerance = sizeof(T) == sizeof(float) ? 2e-4 : 1e-11;

template <class T>
void check(const Kernel& kernel, Random& random, Sizes sizes, int64_t inputs) {
  Arena<T> arena(random);
  sizes.batch_major = arena.coin();
  const auto forward = random_forward<T>(arena, sizes, inputs);
  kernel.loops<T>().forward(forward);
  expect(forward_error(forward) < kTolerance<T>, "forward", sizes, kernel.name);
  const auto linear = random_linear<T>(arena, sizes);
  kernel.loops<T>().linear(linear);
  expect(linear_error(linear) < kTolerance<T>, "linear", sizes, kernel.name);
  const auto pullback = random_pullback<T>(arena, sizes, inputs);
  kernel.loops<T>().pullback(pullback);
  expect(pullback_error(pullback) < kTolerance<T>, "pullback", sizes, kernel.name);
}

// Each row of a problem alone, which takes other tiles, and no helper.
template <class T>
void check_bits(const Kernel& kernel, Random& random, Sizes sizes, int64_t inputs) {
  const auto [steps, rows, units, batch_major] = sizes;
  Arena<T> arena(random);
  auto p = random_forward<T>(arena, sizes, inputs);
  p.flags = {};
  p.factors = p.reset_to = nullptr;
  std::vector<T> lasts(rows * units), alone(units), xs(steps * inputs);
  p.last = lasts.data();
  kernel.loops<T>().forward(p);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t t = 0; t < steps; ++t) {
      std::memcpy(&xs[t * inputs], p.xs + place_of(sizes, t, row) * inputs, inputs * sizeof(T));
    }
    auto one = p;
    one.sizes.rows = 1;
    one.xs = xs.data();
    one.h = p.h + row * units;
    one.last = alone.data();
    one.ys = one.update = one.reset = one.candidate = one.inside_reset = nullptr;
    kernel.loops<T>().forward(one);
    expect(std::memcmp(&lasts[row * units], alone.data(), units * sizeof(T)) == 0,
           "a row alone has other bits", sizes, kernel.name);
  }
}

// Problems that are shared out among threads, by rows and by units, again and again, by several
// callers at once.
template <class T>
void check_callers(const Kernel& kernel, Random& random, int callers, int rounds) {
  for (const Sizes sizes : {Sizes{24, 33, 40}, Sizes{300, 1, 60}}) {
    Arena<T> arena(random);
    const auto p = random_forward<T>(arena, sizes, 9);
    kernel.loops<T>().forward(p);
    const int64_t numbers = sizes.rows * sizes.units;
    const std::vector<T> expected(p.last, p.last + numbers);
    std::vector<std::thread> threads;
    std::atomic<int> differing{0};
    for (int caller = 0; caller < callers; ++caller) {
      threads.emplace_back([&] {
        for (int i = 0; i < rounds; ++i) {
          auto own = p;
          std::vector<T> last(numbers);
          own.last = last.data();
          own.ys = own.update = own.reset = own.candidate = own.inside_reset = nullptr;
          kernel.loops<T>().forward(own);
          differing += std::memcmp(last.data(), expected.data(), numbers * sizeof(T)) != 0;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    expect(differing == 0, "one of several callers has other bits", sizes, kernel.name);
  }
}

// Pullbacks that are shared out among threads, by rows and by panels, by several callers at once:
// all but one of them get no helper.
template <class T>
void check_pullback_bits(const Kernel& kernel, Random& random, int callers, int rounds) {
  struct Case {
    Sizes sizes;
    int64_t groups;
  };
  const Case cases[] = {{{9, 70, 40}, 1}, {{150, 3, 60}, 1}, {{60, 12, 33}, 12}, {{20, 80, 24}, 2}};
  for (const auto& [sizes, groups] : cases) {
    Arena<T> arena(random);
    PullbackProblem<T> p;
    do {
      p = random_pullback<T>(arena, sizes, 50);
    } while (!p.of_recurrent_kernel || !p.of_xs || p.groups != 1);
    p.groups = groups;
    p.of_bias = p.of_candidate_bias = p.of_reset_to = p.of_steps = nullptr;
    const int64_t width = 3 * sizes.units * groups, xs = sizes.steps * sizes.rows * 50;
    const auto run = [&](std::vector<T>& found) {
      found.resize((50 + sizes.units) * width + xs);
      auto own = p;
      own.of_kernel = found.data();
      own.of_recurrent_kernel = own.of_kernel + 50 * width;
      own.of_xs = own.of_recurrent_kernel + sizes.units * width;
      own.of_h = nullptr;
      kernel.loops<T>().pullback(own);
    };
    std::vector<T> expected;
    run(expected);
    std::vector<std::thread> threads;
    std::atomic<int> differing{0};
    for (int caller = 0; caller < callers; ++caller) {
      threads.emplace_back([&] {
        for (int i = 0; i < rounds; ++i) {
          std::vector<T> found;
          run(found);
          differing += std::memcmp(found.data(), expected.data(), found.size() * sizeof(T)) != 0;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    expect(differing == 0, "a pullback has other bits", sizes, kernel.name);
  }
}

// A stream, in calls of some steps with any rows active, and the loops over as many steps.
template <class T>
void check_stream(const Kernel& kernel, Random& random, int64_t rows, int64_t layers) {
  Arena<T> arena(random);
  std::vector<ForwardProblem<T>> problems;
  std::vector<StreamLayer<T>> given;
  std::vector<std::vector<T>> states(layers);
  int64_t width = 1 + static_cast<int64_t>(random() % 18);
  for (int64_t i = 0; i < layers; ++i) {
    const Sizes sizes{1, rows, 30 + static_cast<int64_t>(random() % 4)};
    ForwardProblem<T> p = random_forward<T>(arena, sizes, width);
    p.flags = {};
    p.reverse = false;
    p.factors = p.reset_to = nullptr;
    p.update = p.reset = p.candidate = p.inside_reset = nullptr;
    p.last = arena.numbers(rows * sizes.units);
    states[i].assign(p.h, p.h + rows * sizes.units);
    given.push_back({width, sizes.units, p.reset_after, p.kernel, p.recurrent_kernel, p.bias,
                     p.candidate_bias, states[i].data()});
    problems.push_back(p);
    width = sizes.units;
  }
  const std::unique_ptr<Stream> stream(kernel.loops<T>().open_stream(rows, given.data(), layers));
  for (const int64_t steps : {1, 3, 1, 90, 0, 2}) {
    const T* xs = arena.numbers(steps * rows * given[0].inputs);
    const bool* active = arena.maybe_flags(rows, 0.7);
    std::vector<T> found(steps * rows * width);
    stream->run(steps, xs, reinterpret_cast<const unsigned char*>(active), found.data());
    const std::unique_ptr<bool[]> valid(new bool[steps * rows]);
    for (int64_t i = 0; active && i < steps * rows; ++i) valid[i] = active[i % rows];
    for (int64_t i = 0; i < layers && steps > 0; ++i) {
      ForwardProblem<T>& p = problems[i];
      p.sizes.steps = steps;
      p.flags.valid = active ? valid.get() : nullptr;
      p.xs = xs;
      xs = p.ys = arena.numbers(steps * rows * p.sizes.units);
      kernel.loops<T>().forward(p);
      p.h = p.last;
      p.last = arena.numbers(rows * p.sizes.units);
      expect(std::memcmp(p.h, states[i].data(), states[i].size() * sizeof(T)) == 0,
             "the state of a stream has other bits", p.sizes, kernel.name);
    }
    expect(steps == 0 || std::memcmp(xs, found.data(), found.size() * sizeof(T)) == 0,
           "a stream has other bits", problems.back().sizes, kernel.name);
  }
}

// NaN stays NaN, and a row is not touched by another that is not finite.
template <class T>
void check_not_finite(const Kernel& kernel, Random& random) {
  using Limits = std::numeric_limits<T>;
  for (const T value :
       {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), Limits::max()}) {
    Arena<T> arena(random);
    const Sizes sizes{3, 2, 5};
    auto p = random_forward<T>(arena, sizes, 2);
    p.flags = {};
    p.reverse = false;
    std::vector<T> xs(p.xs, p.xs + 3 * 2 * 2);
    xs[0] = value;
    p.xs = xs.data();
    kernel.loops<T>().forward(p);
    for (int u = 0; u < 5; ++u) {
      expect(std::isfinite(p.last[5 + u]), "a row beside infinity", sizes, kernel.name);
      expect(std::isnan(value) == std::isnan(p.last[u]), "NaN", sizes, kernel.name);
    }
  }
}

void check_fork(const Kernel& kernel, Random& random) {
#if defined(__SANITIZE_THREAD__)  // which does not support threads after a fork
  (void)kernel, (void)random;
#else
  const pid_t child = fork();
  if (child == 0) {
    check_callers<float>(kernel, random, 1, 2);
    _exit(failures == 0 ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  expect(status == 0, "a child process", {}, kernel.name);
#endif
}

int run(int problems, bool forks) {
  Random random(7);
  const int64_t units[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33};
  const int64_t rows[] = {0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 17, 33};
  const auto one_of = [&](const auto& sizes) { return sizes[random() % std::size(sizes)]; };
  for (const Kernel* each : kernels()) {
    const Kernel& kernel = *each;
    for (int i = 0; i < problems; ++i) {
      const Sizes sizes{1 + static_cast<int64_t>(random() % 10), one_of(rows), one_of(units)};
      const int64_t inputs = 1 + static_cast<int64_t>(random() % 18);
      check<float>(kernel, random, sizes, inputs);
      check<double>(kernel, random, sizes, inputs);
    }
    for (const int64_t size : {2, 5, 9, 17, 70}) {
      check_bits<float>(kernel, random, {4, size, size + 12}, 3);
      check_bits<double>(kernel, random, {4, size, size + 12}, 3);
    }
    for (const int64_t rows : {1, 3, 70}) {
      for (const int64_t layers : {1, 2, 3}) {
        check_stream<float>(kernel, random, rows, layers);
        check_stream<double>(kernel, random, rows, layers);
      }
    }
    check_not_finite<float>(kernel, random);
    check_not_finite<double>(kernel, random);
    check_callers<float>(kernel, random, 3, 3);
    check_callers<double>(kernel, random, 3, 3);
    check_pullback_bits<float>(kernel, random, 3, 3);
    check_pullback_bits<double>(kernel, random, 3, 3);
    if (forks) check_fork(kernel, random);
    std::printf("%s: %d random problems, %d failures\n", kernel.name, problems, failures);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace jaxgru

// loops_test [PROBLEMS [nofork]]: qemu cannot fork a process of several threads.
int main(int argc, char** argv) {
  return jaxgru::run(argc > 1 ? std::atoi(argv[1]) : 300, argc < 3);
}
