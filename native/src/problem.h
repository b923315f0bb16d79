// What the kernels compute, as sizes and pointers.
//
// Arrays are dense, the last axis contiguous: T steps, B rows, I inputs, H units. An array that is
// absent is a null pointer.
#pragma once

#include <cstdint>

namespace jaxgru {

// What happens at single steps, (T, B).
struct Flags {
  const bool* valid = nullptr;   // where false, the state is held
  const bool* resets = nullptr;  // where true, the state before the step is replaced
};

struct Sizes {
  int64_t steps = 0;
  int64_t rows = 0;
  int64_t units = 0;
};

// The GRU, with the gate order update, reset, candidate.
template <class T>
struct ForwardProblem {
  Sizes sizes;
  int64_t inputs = 0;
  bool reset_after = true;
  bool reverse = false;
  Flags flags;
  const T* xs = nullptr;                // (T, B, I)
  const T* kernel = nullptr;            // (I, 3H)
  const T* recurrent_kernel = nullptr;  // (H, 3H)
  const T* bias = nullptr;              // (3H,), outside the reset gate
  const T* candidate_bias = nullptr;    // (H,), inside it
  const T* h = nullptr;                 // (B, H), before the first step
  const T* reset_to = nullptr;          // (B, H), the state that resets return to
  const T* factors = nullptr;           // (B, H), of the state where it enters the products
  T* last = nullptr;                    // (B, H)
  T* ys = nullptr;                      // (T, B, H), the states after each step
  // The gates, (T, B, H) each: all of them or none.
  T* update = nullptr;
  T* reset = nullptr;
  T* candidate = nullptr;
  T* inside_reset = nullptr;  // what the reset gate multiplies
};

// The linear recurrence of the derivative, or its transpose. With P the blocks of dh U:
//
//   dh <- z dh + a Pz + b Pr + c Pn + e             reset after
//   dh <- z dh + a Pz + c (r dh + b Pr) Un + e      reset before
template <class T>
struct LinearProblem {
  Sizes sizes;
  bool reverse = false;
  Flags flags;
  const T* z = nullptr;  // (T, B, H) each
  const T* a = nullptr;
  const T* b = nullptr;
  const T* c = nullptr;
  const T* r = nullptr;                  // null: reset after
  const T* transposed_kernel = nullptr;  // (3H, H)
  const T* factors = nullptr;            // (B, H)
  const T* sequence = nullptr;           // (T, B, H), e, or the cotangents of every dh
  const T* state = nullptr;              // (B, H), dh, or the cotangent of the last
  T* state_out = nullptr;                // (B, H)
  T* sequence_out = nullptr;             // (T, B, H)
};

}  // namespace jaxgru
