// The problems that the kernels solve, as sizes and pointers.
//
// Arrays are dense, the last axis contiguous: T steps, B rows, I inputs, H units. An array that is
// absent is a null pointer. Batch-major, the sequences of inputs and of states lie as (B, T, ...),
// and so do their cotangents; whatever else has the axes (T, B, ...) lies in this order.
#pragma once

#include <cstdint>

namespace jaxgru {

// The flags of single steps, (T, B).
struct Flags {
  const bool* valid = nullptr;   // where false, the state is held
  const bool* resets = nullptr;  // where true, the state before the step is replaced
};

struct Sizes {
  int64_t steps = 0;
  int64_t rows = 0;
  int64_t units = 0;
  bool batch_major = false;

  // Where the row of a sequence at a time lies, counted in rows; and how far rows are apart.
  int64_t in_sequence(int64_t t, int64_t row) const {
    return batch_major ? row * steps + t : t * rows + row;
  }
  int64_t between_rows() const { return batch_major ? steps : 1; }
};

// The GRU, with the gate order update, reset, candidate.
template <class T>
struct ForwardProblem {
  Sizes sizes;
  int64_t inputs = 0;
  bool reset_after = true;
  bool reverse = false;
  Flags flags;
  const T* xs = nullptr;                // (T, B, I), a sequence
  const T* kernel = nullptr;            // (I, 3H)
  const T* recurrent_kernel = nullptr;  // (H, 3H)
  const T* bias = nullptr;              // (3H,), outside the reset gate
  const T* candidate_bias = nullptr;    // (H,), inside it
  const T* h = nullptr;                 // (B, H), before the first step
  const T* reset_to = nullptr;          // (B, H), the state that resets return to
  const T* factors = nullptr;           // (B, H), of the state where it enters the products
  T* last = nullptr;                    // (B, H)
  T* ys = nullptr;                      // (T, B, H), a sequence: the states after each step
  // The gates, (T, B, H) each: all of them or none.
  T* update = nullptr;
  T* reset = nullptr;
  T* candidate = nullptr;
  T* inside_reset = nullptr;  // what the reset gate multiplies
};

// The linear recurrence of the derivative. With P the blocks of dh U:
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
  const T* sequence = nullptr;           // (T, B, H), e
  const T* state = nullptr;              // (B, H), dh
  T* state_out = nullptr;                // (B, H)
  T* sequence_out = nullptr;             // (T, B, H)
};

// The pullback of the GRU: from the cotangents of the last state and of all states, those of all
// that they depend on. The rows are G groups, each with gradients of the weights of its own.
template <class T>
struct PullbackProblem {
  Sizes sizes;
  int64_t inputs = 0;
  int64_t groups = 1;
  bool reset_after = true;
  bool reverse = false;
  Flags flags;
  const T* xs = nullptr;  // as in ForwardProblem
  const T* kernel = nullptr;
  const T* recurrent_kernel = nullptr;
  const T* h = nullptr;
  const T* reset_to = nullptr;
  const T* factors = nullptr;
  const T* ys = nullptr;
  const T* update = nullptr;
  const T* reset = nullptr;
  const T* candidate = nullptr;
  const T* inside_reset = nullptr;
  const T* of_last = nullptr;        // (B, H)
  const T* of_ys = nullptr;          // (T, B, H), a sequence
  T* of_kernel = nullptr;            // (G, I, 3H); of the weights, the two kernels or none
  T* of_recurrent_kernel = nullptr;  // (G, H, 3H)
  T* of_bias = nullptr;              // (G, 3H)
  T* of_candidate_bias = nullptr;    // (G, H)
  T* of_xs = nullptr;                // (T, B, I), a sequence
  T* of_h = nullptr;                 // (B, H)
  T* of_reset_to = nullptr;          // (B, H)
  T* of_steps = nullptr;             // (T, B, H), of the state after each step, by all paths
};

}  // namespace jaxgru
