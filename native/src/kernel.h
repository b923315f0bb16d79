// The loops, compiled for one instruction set each.
#pragma once

#include <type_traits>
#include <vector>

#include "problem.h"
#include "stream.h"

namespace jaxgru {

template <class T>
struct Loops {
  void (*forward)(const ForwardProblem<T>&);
  void (*linear)(const LinearProblem<T>&);
  void (*pullback)(const PullbackProblem<T>&);
  Stream* (*open_stream)(int64_t rows, const StreamLayer<T>* layers, int64_t count);
};

struct Kernel {
  const char* name;
  Loops<float> f32;
  Loops<double> f64;

  template <class T>
  const Loops<T>& loops() const {
    if constexpr (std::is_same_v<T, float>) {
      return f32;
    } else {
      return f64;
    }
  }
};

// The loops of this build that the machine supports, the best first.
const std::vector<const Kernel*>& kernels();

// The best, or the one that JAXGRU_NATIVE_ISA names. There is one: library.py looks first.
const Kernel& kernel();

}  // namespace jaxgru
