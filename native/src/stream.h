// A stack of layers that runs step by step: weights packed once, states kept between calls.
#pragma once

#include <cstdint>

namespace jaxgru {

template <class T>
struct StreamLayer {
  int64_t inputs = 0, units = 0;
  bool reset_after = true;
  const T* kernel = nullptr;  // as in ForwardProblem; not read once the stream is open
  const T* recurrent_kernel = nullptr;
  const T* bias = nullptr;
  const T* candidate_bias = nullptr;
  T* state = nullptr;  // (B, H), read and written by every run
};

class Stream {
 public:
  Stream() = default;
  virtual ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Runs some steps: xs (T, B, I) of the first layer, ys (T, B, H) of the last, in the type of the
  // layers. A row whose byte in `active` (B,) is 0 is held; all are active if that is null.
  virtual void run(int64_t steps, const void* xs, const unsigned char* active, void* ys) = 0;

  // Multiplications of one step.
  virtual int64_t work() const = 0;
};

}  // namespace jaxgru
