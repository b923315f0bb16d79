// The streams of one instruction set.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "forward.h"
#include "schedule.h"
#include "stream.h"

namespace jaxgru {
namespace {

// The loop of Forward with weights that are packed already.
template <class T>
class PackedForward {
 public:
  struct Problem : ForwardProblem<T> {
    const Forward<T>* packed = nullptr;
  };
  using Number = T;

  static int64_t work(const Problem& p) { return Forward<T>::work(p); }
  static int64_t packed_size(const Problem&) { return 0; }
  static int64_t memory_size(const Problem& p, int64_t rows) {
    return Forward<T>::memory_size(p, rows);
  }

  PackedForward() = default;
  PackedForward(const Problem& p, int64_t most_rows, T*) : loop_(p.packed->on(p, most_rows)) {}
  void pack(Range) {}
  void run(Range rows, Range panels, T* memory, const TeamBarrier& together) const {
    loop_.run(rows, panels, memory, together);
  }

 private:
  Forward<T> loop_;
};

// Memory with a single owner.
template <class T>
class Block {
 public:
  explicit Block(int64_t numbers) {
    const std::size_t bytes = static_cast<std::size_t>(numbers) * sizeof(T);
    data_ = static_cast<T*>(std::aligned_alloc(kLine, (bytes / kLine + 1) * kLine));
    if (data_ == nullptr) throw std::bad_alloc();
  }
  ~Block() { std::free(data_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  T* data() const { return data_; }

 private:
  static constexpr std::size_t kLine = 64;
  T* data_;
};

template <class T>
class Stack final : public Stream {
 public:
  Stack(int64_t rows, const StreamLayer<T>* layers, int64_t count)
      : rows_(rows),
        count_(count),
        at_once_(steps_at_once(rows, layers, count)),
        layers_(new Layer[count]),
        packed_(packed_size(layers, count)),
        between_(2 * between_size(layers, count)),
        valid_(at_once_ * rows) {
    Allocator<T> memory(packed_.data());
    for (int64_t i = 0; i < count; ++i) {
      Layer& layer = layers_[i];
      layer.problem = problem_of(layers[i]);
      layer.packed =
          Forward<T>(layer.problem, 1, memory.take(Forward<T>::packed_size(layer.problem)));
      layer.packed.pack({0, panels_of<T>(layers[i].units)});
      layer.problem.packed = &layer.packed;
      work_ += rows * PackedForward<T>::work(layer.problem);
      if (i + 1 < count) next_[i % 2] = between_.data() + (i % 2) * between_size(layers, count);
    }
  }

  void run(int64_t steps, const void* xs, const unsigned char* active, void* ys) override {
    const bool whole = count_ == 1 && active == nullptr;
    const int64_t at_once = whole ? steps : std::min(at_once_, steps);
    if (active != nullptr) {
      for (int64_t i = 0; i < at_once * rows_; ++i) valid_.data()[i] = active[i % rows_] != 0;
    }
    const int64_t inputs = rows_ * layers_[0].problem.inputs;
    const int64_t outputs = rows_ * layers_[count_ - 1].problem.sizes.units;
    for (int64_t step = 0; step < steps; step += at_once) {
      run_layers(std::min(at_once, steps - step), static_cast<const T*>(xs) + step * inputs,
                 active == nullptr ? nullptr : valid_.data(), static_cast<T*>(ys) + step * outputs);
    }
  }

  int64_t work() const override { return work_; }

 private:
  struct Layer {
    typename PackedForward<T>::Problem problem;
    Forward<T> packed;
  };

  // The numbers between two layers that an inner cache holds.
  static constexpr int64_t kBetween = 1 << 16;

  static int64_t most_units(const StreamLayer<T>* layers, int64_t count) {
    int64_t most = 0;
    for (int64_t i = 0; i < count; ++i) most = std::max(most, layers[i].units);
    return most;
  }
  static int64_t steps_at_once(int64_t rows, const StreamLayer<T>* layers, int64_t count) {
    return std::max<int64_t>(1, kBetween / (rows * most_units(layers, count)));
  }
  int64_t between_size(const StreamLayer<T>* layers, int64_t count) const {
    return count > 1 ? at_once_ * rows_ * most_units(layers, count) : 0;
  }
  static int64_t packed_size(const StreamLayer<T>* layers, int64_t count) {
    int64_t size = 0;
    for (int64_t i = 0; i < count; ++i) size += Forward<T>::packed_size(problem_of(layers[i]));
    return size;
  }

  static typename PackedForward<T>::Problem problem_of(const StreamLayer<T>& layer) {
    typename PackedForward<T>::Problem p;
    p.sizes = {kMinToPack + 1, 1, layer.units};  // of as many steps as are worth packing
    p.inputs = layer.inputs;
    p.reset_after = layer.reset_after;
    p.kernel = layer.kernel;
    p.recurrent_kernel = layer.recurrent_kernel;
    p.bias = layer.bias;
    p.candidate_bias = layer.candidate_bias;
    p.h = p.last = layer.state;
    return p;
  }

  void run_layers(int64_t steps, const T* xs, const bool* valid, T* ys) {
    for (int64_t i = 0; i < count_; ++i) {
      auto& p = layers_[i].problem;
      p.sizes.steps = steps;
      p.sizes.rows = rows_;
      p.flags.valid = valid;
      p.xs = xs;
      p.ys = i + 1 < count_ ? next_[i % 2] : ys;
      run_loop<PackedForward<T>>(p);
      xs = p.ys;
    }
  }

  int64_t rows_, count_, at_once_, work_ = 0;
  std::unique_ptr<Layer[]> layers_;
  Block<T> packed_, between_;
  Block<bool> valid_;
  T* next_[2] = {nullptr, nullptr};  // the outputs of a layer before the last
};

template <class T>
Stream* open_stream(int64_t rows, const StreamLayer<T>* layers, int64_t count) {
  return new Stack<T>(rows, layers, count);
}

}  // namespace
}  // namespace jaxgru
