// The handlers that XLA calls. They check all operands and results themselves.
#include <initializer_list>
#include <new>
#include <optional>
#include <string>

#include "ffi.h"
#include "kernel.h"
#include "pages.h"
#include "threads.h"

namespace jaxgru {
namespace {

using Shape = std::initializer_list<int64_t>;

// Takes the operands and then the results of a call, in order, and keeps the first error.
template <class T>
class Arrays {
 public:
  Arrays(const ffi::Buffers& operands, const ffi::Buffers& results)
      : operands_(operands), results_(results) {}

  // The sizes of an operand, or zeros.
  template <size_t N>
  void sizes(const char* name, size_t operand, int64_t (&sizes)[N]) {
    const ffi::Buffer* array = operands_.at(operand);
    const bool fits = array != nullptr && array->rank == N;
    if (!fits) fail(std::string(name) + ": expected " + std::to_string(N) + " axes");
    for (size_t i = 0; i < N; ++i) sizes[i] = fits ? array->dimensions[i] : 0;
  }

  const T* operand(const char* name, Shape shape) {
    return static_cast<const T*>(next_operand(name, kNumber, shape, false));
  }
  // Null if the array has no element, which stands for an absent one.
  const T* optional(const char* name, Shape shape) {
    return static_cast<const T*>(next_operand(name, kNumber, shape, true));
  }
  const bool* flags(const char* name, Shape shape) {
    return static_cast<const bool*>(next_operand(name, ffi::kFlags, shape, true));
  }
  T* result(const char* name, Shape shape) { return next_result(name, shape, false); }
  T* optional_result(const char* name, Shape shape) { return next_result(name, shape, true); }

  void expect(bool holds, const char* message) {
    if (!holds) fail(message);
  }
  // Runs the loop, unless there is an error. After its operands one may follow that no loop reads:
  // the caller adds it for XLA's estimate of the program's work.
  template <class Problem>
  ffi::Result run(void (*loop)(const Problem&), const Problem& problem) {
    const bool all_operands =
        next_operand_ == operands_.count || next_operand_ + 1 == operands_.count;
    expect(all_operands && next_result_ == results_.count,
           "other numbers of operands or results than expected");
    if (error_.empty()) loop(problem);
    return {error_};
  }

 private:
  static constexpr ffi::Type kNumber = sizeof(T) == sizeof(float) ? ffi::kFloat32 : ffi::kFloat64;

  void fail(const std::string& message) {
    if (error_.empty()) error_ = "jaxgru kernel: " + message;
  }
  const void* next_operand(const char* name, ffi::Type type, Shape shape, bool optional) {
    const ffi::Buffer* array = operands_.at(next_operand_++);
    if (array != nullptr) return checked(name, *array, type, shape, optional);
    fail(std::string(name) + " is missing");
    return nullptr;
  }
  T* next_result(const char* name, Shape shape, bool optional) {
    const ffi::Buffer* array = results_.at(next_result_++);
    if (array == nullptr) {
      fail(std::string(name) + " is missing");
      return nullptr;
    }
    void* data = checked(name, *array, kNumber, shape, optional);
    if (data != nullptr) prefer_large_pages(data, array->count() * sizeof(T));
    return static_cast<T*>(data);
  }
  void* checked(const char* name, const ffi::Buffer& array, ffi::Type type, Shape shape,
                bool optional) {
    if (optional && array.count() == 0) return nullptr;
    const int64_t rank = shape.size();
    bool fits = array.type == type && array.rank == rank;
    for (int64_t i = 0; fits && i < rank; ++i) fits = array.dimensions[i] == shape.begin()[i];
    if (!fits) {
      std::string expected;
      for (const int64_t size : shape) expected += std::to_string(size) + ", ";
      fail(std::string(name) + ": expected shape (" + expected + ") in the common type");
    }
    return array.data;
  }

  const ffi::Buffers& operands_;
  const ffi::Buffers& results_;
  int64_t next_operand_ = 0, next_result_ = 0;
  std::string error_;
};

// What is static in a layer, and how its sequences lie.
struct Options {
  bool reset_after, reverse, batch_major;

  static std::optional<Options> of(const ffi::Attributes& attributes) {
    const auto reset_after = attributes.flag("reset_after"), reverse = attributes.flag("reverse");
    const auto batch_major = attributes.flag("batch_major");
    if (!reset_after || !reverse || !batch_major) return {};
    return Options{*reset_after, *reverse, *batch_major};
  }
};

template <class T>
ffi::Result forward(const ffi::Buffers& operands, const ffi::Buffers& results,
                    const Options& options, void (*loop)(const ForwardProblem<T>&)) {
  Arrays<T> arrays(operands, results);
  int64_t xs[3], h[2];
  arrays.sizes("xs", 0, xs);
  arrays.sizes("h", 5, h);
  const auto [outer, inner, inputs] = xs;
  const int64_t steps = options.batch_major ? inner : outer;
  const int64_t rows = options.batch_major ? outer : inner, units = h[1];
  const Shape state = {rows, units}, flags = {steps, rows}, kept = {steps, rows, units};
  const Shape sequence = {outer, inner, units};
  ForwardProblem<T> p;
  p.sizes = {steps, rows, units, options.batch_major};
  p.inputs = inputs;
  p.reset_after = options.reset_after;
  p.reverse = options.reverse;
  p.xs = arrays.operand("xs", {outer, inner, inputs});
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
  p.update = arrays.optional_result("update", kept);
  p.reset = arrays.optional_result("reset", kept);
  p.candidate = arrays.optional_result("candidate", kept);
  p.inside_reset = arrays.optional_result("inside_reset", kept);
  const bool gates = p.update != nullptr;
  arrays.expect(gates == (p.reset != nullptr) && gates == (p.candidate != nullptr) &&
                    gates == (p.inside_reset != nullptr),
                "expected all gates or none");
  arrays.expect(p.flags.resets == nullptr || p.reset_to != nullptr, "resets without reset_to");
  arrays.expect(steps > 0, "expected at least one step");
  return arrays.run(loop, p);
}

template <class T>
ffi::Result linear(const ffi::Buffers& operands, const ffi::Buffers& results, bool reverse,
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

template <class T>
ffi::Result pullback(const ffi::Buffers& operands, const ffi::Buffers& results, int64_t groups,
                     const Options& options, void (*loop)(const PullbackProblem<T>&)) {
  Arrays<T> arrays(operands, results);
  int64_t xs[3], h[2];
  arrays.sizes("xs", 0, xs);
  arrays.sizes("h", 3, h);
  const auto [outer, inner, inputs] = xs;
  const int64_t steps = options.batch_major ? inner : outer;
  const int64_t rows = options.batch_major ? outer : inner, units = h[1];
  const Shape state = {rows, units}, flags = {steps, rows}, kept = {steps, rows, units};
  const Shape sequence = {outer, inner, units};
  PullbackProblem<T> p;
  p.sizes = {steps, rows, units, options.batch_major};
  p.inputs = inputs;
  p.groups = groups;
  p.reset_after = options.reset_after;
  p.reverse = options.reverse;
  p.xs = arrays.operand("xs", {outer, inner, inputs});
  p.kernel = arrays.operand("kernel", {inputs, 3 * units});
  p.recurrent_kernel = arrays.operand("recurrent_kernel", {units, 3 * units});
  p.h = arrays.operand("h", state);
  p.reset_to = arrays.optional("reset_to", state);
  p.factors = arrays.optional("factors", state);
  p.flags.valid = arrays.flags("valid", flags);
  p.flags.resets = arrays.flags("resets", flags);
  p.ys = arrays.operand("ys", sequence);
  p.update = arrays.operand("update", kept);
  p.reset = arrays.operand("reset", kept);
  p.candidate = arrays.operand("candidate", kept);
  p.inside_reset = arrays.operand("inside_reset", kept);
  p.of_last = arrays.optional("of_last", state);
  p.of_ys = arrays.optional("of_ys", sequence);
  p.of_kernel = arrays.optional_result("of_kernel", {groups, inputs, 3 * units});
  p.of_recurrent_kernel = arrays.optional_result("of_recurrent_kernel", {groups, units, 3 * units});
  p.of_bias = arrays.optional_result("of_bias", {groups, 3 * units});
  p.of_candidate_bias = arrays.optional_result("of_candidate_bias", {groups, units});
  p.of_xs = arrays.optional_result("of_xs", {outer, inner, inputs});
  p.of_h = arrays.optional_result("of_h", state);
  p.of_reset_to = arrays.optional_result("of_reset_to", state);
  p.of_steps = arrays.optional_result("of_steps", kept);
  const bool weights = p.of_recurrent_kernel != nullptr;
  arrays.expect(weights || !(p.of_kernel || p.of_bias || p.of_candidate_bias),
                "expected both kernels or no weights");
  arrays.expect(p.of_kernel || !weights || inputs == 0, "expected both kernels or no weights");
  arrays.expect(p.reset_after || !p.of_candidate_bias, "a bias inside the reset gate: reset after");
  arrays.expect(groups > 0 && rows % groups == 0, "expected groups of equal rows");
  arrays.expect(steps > 0, "expected at least one step");
  return arrays.run(loop, p);
}

// Calls `function(zero)` with a zero of the type of the first operand. No exception leaves it.
template <class Function>
ffi::Result in_type(const ffi::Buffers& operands, const Function& function) {
  const ffi::Buffer* first = operands.at(0);
  try {
    if (first != nullptr && first->type == ffi::kFloat32) return function(0.0f);
    if (first != nullptr && first->type == ffi::kFloat64) return function(0.0);
  } catch (const std::bad_alloc&) {
    return {"jaxgru kernel: no memory", ffi::kResourceExhausted};
  }
  return {"jaxgru kernel: expected float32 or float64"};
}

ffi::Result handle_forward(const ffi::Buffers& operands, const ffi::Buffers& results,
                           const ffi::Attributes& attributes) {
  const auto options = Options::of(attributes);
  if (!options) return {"jaxgru kernel: expected reset_after, reverse and batch_major"};
  return in_type(operands, [&](auto zero) {
    using T = decltype(zero);
    return forward<T>(operands, results, *options, kernel().loops<T>().forward);
  });
}

ffi::Result handle_linear(const ffi::Buffers& operands, const ffi::Buffers& results,
                          const ffi::Attributes& attributes) {
  const auto reverse = attributes.flag("reverse");
  if (!reverse) return {"jaxgru kernel: expected reverse"};
  return in_type(operands, [&](auto zero) {
    using T = decltype(zero);
    return linear<T>(operands, results, *reverse, kernel().loops<T>().linear);
  });
}

ffi::Result handle_pullback(const ffi::Buffers& operands, const ffi::Buffers& results,
                            const ffi::Attributes& attributes) {
  const auto options = Options::of(attributes);
  const auto groups = attributes.integer("groups");
  if (!options || !groups) {
    return {"jaxgru kernel: expected groups, reset_after, reverse and batch_major"};
  }
  return in_type(operands, [&](auto zero) {
    using T = decltype(zero);
    return pullback<T>(operands, results, *groups, *options, kernel().loops<T>().pullback);
  });
}

}  // namespace
}  // namespace jaxgru

#define JAXGRU_EXPORT extern "C" __attribute__((visibility("default")))

// The version of what the handlers are given, as library.py has it.
JAXGRU_EXPORT int jaxgru_calls() { return 2; }

// The oldest version of XLA's interface that accepts the handlers.
JAXGRU_EXPORT int jaxgru_ffi_major() { return jaxgru::ffi::kMajor; }
JAXGRU_EXPORT int jaxgru_ffi_minor() { return jaxgru::ffi::kMinor; }

// The supported instruction sets, separated by commas, the best first.
JAXGRU_EXPORT const char* jaxgru_instruction_sets() {
  static const std::string names = [] {
    std::string joined;
    for (const jaxgru::Kernel* kernel : jaxgru::kernels()) {
      if (!joined.empty()) joined += ",";
      joined += kernel->name;
    }
    return joined;
  }();
  return names.c_str();
}

JAXGRU_EXPORT const char* jaxgru_instruction_set() { return jaxgru::kernel().name; }

JAXGRU_EXPORT int jaxgru_threads() { return jaxgru::available_threads(); }

JAXGRU_EXPORT jaxgru::ffi::Failure* jaxgru_forward(jaxgru::ffi::Frame* frame) {
  return jaxgru::ffi::handle(frame, jaxgru::handle_forward);
}

JAXGRU_EXPORT jaxgru::ffi::Failure* jaxgru_linear(jaxgru::ffi::Frame* frame) {
  return jaxgru::ffi::handle(frame, jaxgru::handle_linear);
}

JAXGRU_EXPORT jaxgru::ffi::Failure* jaxgru_pullback(jaxgru::ffi::Frame* frame) {
  return jaxgru::ffi::handle(frame, jaxgru::handle_pullback);
}
