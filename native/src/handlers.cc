// What XLA calls: operands and results are checked here, whatever was checked before.
#include <initializer_list>
#include <new>
#include <string>

#include "kernel.h"
#include "pages.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace jaxgru {
namespace {

namespace ffi = xla::ffi;
using Shape = std::initializer_list<int64_t>;

// Takes the operands and then the results of a call, in order, and keeps the first error.
template <class T>
class Arrays {
 public:
  Arrays(ffi::RemainingArgs operands, ffi::RemainingRets results)
      : operands_(operands), results_(results) {}

  // The sizes of an operand, or zeros.
  template <size_t N>
  void sizes(const char* name, size_t operand, int64_t (&sizes)[N]) {
    const auto array = operands_.get<ffi::AnyBuffer>(operand);
    const bool fits = array.has_value() && array->dimensions().size() == N;
    if (!fits) fail(std::string(name) + ": expected " + std::to_string(N) + " axes");
    for (size_t i = 0; i < N; ++i) sizes[i] = fits ? array->dimensions()[i] : 0;
  }

  const T* operand(const char* name, Shape shape) {
    return static_cast<const T*>(next_operand(name, kNumber, shape, false));
  }
  // Null if the array has no element, which stands for an absent one.
  const T* optional(const char* name, Shape shape) {
    return static_cast<const T*>(next_operand(name, kNumber, shape, true));
  }
  const bool* flags(const char* name, Shape shape) {
    return static_cast<const bool*>(next_operand(name, ffi::DataType::PRED, shape, true));
  }
  T* result(const char* name, Shape shape) { return next_result(name, shape, false); }
  T* optional_result(const char* name, Shape shape) { return next_result(name, shape, true); }

  void expect(bool holds, const char* message) {
    if (!holds) fail(message);
  }
  // Runs the loop, unless there is an error.
  template <class Problem>
  ffi::Error run(void (*loop)(const Problem&), const Problem& problem) {
    expect(next_operand_ == operands_.size() && next_result_ == results_.size(),
           "other numbers of operands or results than expected");
    if (!error_.empty()) return ffi::Error::InvalidArgument(error_);
    loop(problem);
    return ffi::Error::Success();
  }

 private:
  static constexpr ffi::DataType kNumber =
      sizeof(T) == sizeof(float) ? ffi::DataType::F32 : ffi::DataType::F64;

  void fail(const std::string& message) {
    if (error_.empty()) error_ = "jaxgru kernel: " + message;
  }
  const void* next_operand(const char* name, ffi::DataType type, Shape shape, bool optional) {
    const auto array = operands_.get<ffi::AnyBuffer>(next_operand_++);
    if (array.has_value()) return checked(name, *array, type, shape, optional);
    fail(std::string(name) + " is missing");
    return nullptr;
  }
  T* next_result(const char* name, Shape shape, bool optional) {
    auto array = results_.get<ffi::AnyBuffer>(next_result_++);
    if (!array.has_value()) {
      fail(std::string(name) + " is missing");
      return nullptr;
    }
    prefer_large_pages((*array)->untyped_data(), (*array)->size_bytes());
    return static_cast<T*>(checked(name, **array, kNumber, shape, optional));
  }
  void* checked(const char* name, const ffi::AnyBuffer& array, ffi::DataType type, Shape shape,
                bool optional) {
    if (optional && array.element_count() == 0) return nullptr;
    const auto sizes = array.dimensions();
    bool fits = array.element_type() == type && sizes.size() == shape.size();
    for (size_t i = 0; fits && i < sizes.size(); ++i) fits = sizes[i] == shape.begin()[i];
    if (!fits) {
      std::string expected;
      for (const int64_t size : shape) expected += std::to_string(size) + ", ";
      fail(std::string(name) + ": expected shape (" + expected + ") in the common type");
    }
    return array.untyped_data();
  }

  ffi::RemainingArgs operands_;
  ffi::RemainingRets results_;
  size_t next_operand_ = 0, next_result_ = 0;
  std::string error_;
};

template <class T>
ffi::Error forward(ffi::RemainingArgs operands, ffi::RemainingRets results, bool reset_after,
                   bool reverse, void (*loop)(const ForwardProblem<T>&)) {
  Arrays<T> arrays(operands, results);
  int64_t xs[3], h[2];
  arrays.sizes("xs", 0, xs);
  arrays.sizes("h", 5, h);
  const auto [steps, rows, inputs] = xs;
  const int64_t units = h[1];
  const Shape sequence = {steps, rows, units}, state = {rows, units}, flags = {steps, rows};
  ForwardProblem<T> p;
  p.sizes = {steps, rows, units};
  p.inputs = inputs;
  p.reset_after = reset_after;
  p.reverse = reverse;
  p.xs = arrays.operand("xs", {steps, rows, inputs});
  p.kernel = arrays.operand("kernel", {inputs, 3 * units});
  p.recurrent_kernel = arrays.operand("recurrent_kernel", {units, 3 * units});
  p.bias = arrays.optional("bias", {3 * units});
  p.candidate_bias = arrays.optional("candidate_bias", {units});
  p.h = arrays.operand("h", state);
  p.reset_to = arrays.optional("reset_to", state);
  p.factors = arrays.optional("factors", state);
  p.flags.valid = arrays.flags("valid", flags);
  p.flags.resets = arrays.flags("resets", flags);
  p.last = arrays.result("last", state);
  p.ys = arrays.optional_result("ys", sequence);
  p.update = arrays.optional_result("update", sequence);
  p.reset = arrays.optional_result("reset", sequence);
  p.candidate = arrays.optional_result("candidate", sequence);
  p.inside_reset = arrays.optional_result("inside_reset", sequence);
  const bool gates = p.update != nullptr;
  arrays.expect(gates == (p.reset != nullptr) && gates == (p.candidate != nullptr) &&
                    gates == (p.inside_reset != nullptr),
                "expected all gates or none");
  arrays.expect(p.flags.resets == nullptr || p.reset_to != nullptr, "resets without reset_to");
  arrays.expect(steps > 0, "expected at least one step");
  return arrays.run(loop, p);
}

template <class T>
ffi::Error linear(ffi::RemainingArgs operands, ffi::RemainingRets results, bool reverse,
                  void (*loop)(const LinearProblem<T>&)) {
  Arrays<T> arrays(operands, results);
  int64_t z[3];
  arrays.sizes("z", 0, z);
  const auto [steps, rows, units] = z;
  const Shape sequence = {steps, rows, units}, state = {rows, units}, flags = {steps, rows};
  LinearProblem<T> p;
  p.sizes = {steps, rows, units};
  p.reverse = reverse;
  p.z = arrays.operand("z", sequence);
  p.a = arrays.operand("a", sequence);
  p.b = arrays.operand("b", sequence);
  p.c = arrays.operand("c", sequence);
  p.r = arrays.optional("r", sequence);
  p.transposed_kernel = arrays.operand("transposed_kernel", {3 * units, units});
  p.sequence = arrays.operand("sequence", sequence);
  p.state = arrays.operand("state", state);
  p.factors = arrays.optional("factors", state);
  p.flags.valid = arrays.flags("valid", flags);
  p.flags.resets = arrays.flags("resets", flags);
  p.state_out = arrays.result("state_out", state);
  p.sequence_out = arrays.result("sequence_out", sequence);
  arrays.expect(steps > 0, "expected at least one step");
  return arrays.run(loop, p);
}

// Calls `function(zero)` with a zero of the type of the first operand. No exception leaves it.
template <class Function>
ffi::Error in_type(ffi::RemainingArgs operands, const Function& function) {
  const auto first = operands.get<ffi::AnyBuffer>(0);
  try {
    if (first.has_value() && first->element_type() == ffi::DataType::F32) return function(0.0f);
    if (first.has_value() && first->element_type() == ffi::DataType::F64) return function(0.0);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "jaxgru kernel: no memory");
  }
  return ffi::Error::InvalidArgument("jaxgru kernel: expected float32 or float64");
}

ffi::Error handle_forward(ffi::RemainingArgs operands, ffi::RemainingRets results, bool reset_after,
                          bool reverse) {
  return in_type(operands, [&](auto zero) {
    using T = decltype(zero);
    return forward<T>(operands, results, reset_after, reverse, kernel().loops<T>().forward);
  });
}

ffi::Error handle_linear(ffi::RemainingArgs operands, ffi::RemainingRets results, bool reverse,
                         bool transposed) {
  return in_type(operands, [&](auto zero) {
    using T = decltype(zero);
    const Loops<T>& loops = kernel().loops<T>();
    return linear<T>(operands, results, reverse, transposed ? loops.transposed : loops.linear);
  });
}

}  // namespace
}  // namespace jaxgru

extern "C" {

const char* jaxgru_instruction_set() { return jaxgru::kernel().name; }

int jaxgru_threads() { return jaxgru::available_threads(); }

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxgru_forward, jaxgru::handle_forward,
                              xla::ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<bool>("reset_after")
                                  .Attr<bool>("reverse"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    jaxgru_linear, jaxgru::handle_linear,
    xla::ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attr<bool>("reverse").Attr<bool>(
        "transposed"));

}  // extern "C"
