// The streams as a Python module, `loops`, of the stable interface of Python 3.11. Compiled if
// Python's headers are available.
//
// An object is given NumPy arrays, whose memory it reads and writes in place. What it cannot take
// directly, `run` leaves to its caller: it returns NotImplemented without any effect.
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <vector>

#include "kernel.h"
#include "stream.h"

namespace jaxgru {
namespace {

// Multiplications, of about 70 us on one thread, from which on other Python threads run meanwhile.
// A shorter call keeps the lock: to get it back may take as long as another thread computes.
constexpr int64_t kReleases = 1 << 21;

struct Decref {
  void operator()(PyObject* object) const { Py_DecRef(object); }
};
using Reference = std::unique_ptr<PyObject, Decref>;

Reference share(PyObject* object) {
  Py_IncRef(object);
  return Reference(object);
}

using Shape = std::initializer_list<int64_t>;

// The memory of an array, while this exists.
class View {
 public:
  View() = default;
  ~View() { PyBuffer_Release(&view_); }
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  // Whether the object has dense, aligned memory of numbers of a format. No error is set if not.
  bool take(PyObject* object, char format, bool writable) {
    if (PyObject_GetBuffer(object, &view_, writable ? PyBUF_RECORDS : PyBUF_RECORDS_RO) != 0) {
      PyErr_Clear();
      return false;
    }
    return view_.format != nullptr && view_.format[0] == format && view_.format[1] == '\0' &&
           reinterpret_cast<std::uintptr_t>(view_.buf) % view_.itemsize == 0 &&
           PyBuffer_IsContiguous(&view_, 'C');
  }
  bool has_shape(Shape shape) const {
    bool equal = rank() == static_cast<int>(shape.size());
    for (int i = 0; equal && i < rank(); ++i) equal = size(i) == shape.begin()[i];
    return equal;
  }
  int rank() const { return view_.ndim; }
  int64_t size(int axis) const { return view_.shape[axis]; }
  template <class T>
  T* data() const {
    return static_cast<T*>(view_.buf);
  }
  bool overlaps(const View& other) const {
    const auto begin = data<const char>(), others = other.data<const char>();
    return begin < others + other.view_.len && others < begin + view_.len;
  }

 private:
  Py_buffer view_{};
};

// The contents of an object.
struct Body {
  char format = 'f';
  bool batched = false;  // whether arrays have an axis of rows
  bool in_use = false;
  int64_t rows = 1, inputs = 0, units = 0;
  Reference array_type, empty, dtype;  // numpy.ndarray, numpy.empty, that of the arrays
  Reference step_arguments;            // of `empty`, for the outputs of a step
  std::unique_ptr<View[]> states;
  std::unique_ptr<Stream> stream;
};

struct Object {
  PyObject_HEAD;
  Body* body;
};

// The one use of an object at a time.
class Use {
 public:
  explicit Use(Body& body) : body_(body), granted_(!body.in_use) {
    if (granted_) {
      body.in_use = true;
    } else {
      PyErr_SetString(PyExc_RuntimeError,
                      "the stream is in use by another thread: expected one thread at a time");
    }
  }
  ~Use() {
    if (granted_) body_.in_use = false;
  }
  bool granted() const { return granted_; }
  void keep() { granted_ = false; }  // until Object's __exit__

 private:
  Body& body_;
  bool granted_;
};

PyObject* leave_to_caller() {
  Py_IncRef(Py_NotImplemented);
  return Py_NotImplemented;
}

// An array for the outputs of some steps, of one without their axis if that is negative.
Reference new_outputs(const Body& body, int64_t steps) {
  if (steps < 0) return Reference(PyObject_CallObject(body.empty.get(), body.step_arguments.get()));
  const long long T = steps, B = body.rows, H = body.units;
  const Reference arguments(body.batched ? Py_BuildValue("((LLL)O)", T, B, H, body.dtype.get())
                                         : Py_BuildValue("((LL)O)", T, H, body.dtype.get()));
  return Reference(arguments ? PyObject_CallObject(body.empty.get(), arguments.get()) : nullptr);
}

// run(xs, out, active): the outputs, or NotImplemented.
PyObject* run(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Body& body = *reinterpret_cast<Object*>(self)->body;
  if (count != 3) {
    PyErr_SetString(PyExc_TypeError, "run takes xs, out and active");
    return nullptr;
  }
  const auto is_array = [&](PyObject* object) {
    return reinterpret_cast<PyObject*>(Py_TYPE(object)) == body.array_type.get();
  };
  const auto fits = [&](const View& view, int64_t steps, int64_t width) {
    if (!body.batched)
      return view.has_shape({steps, width}) || (steps < 0 && view.has_shape({width}));
    return view.has_shape({steps, body.rows, width}) ||
           (steps < 0 && view.has_shape({body.rows, width}));
  };
  const Use use(body);
  if (!use.granted()) return nullptr;

  PyObject *given = arguments[0], *out = arguments[1], *flags = arguments[2];
  View xs, ys, active;
  if (!is_array(given) || !xs.take(given, body.format, false)) return leave_to_caller();
  const int rank = body.batched ? 2 : 1;
  const int64_t steps = xs.rank() > rank ? xs.size(0) : -1;  // -1: one, without an axis of steps
  if (!fits(xs, steps, body.inputs)) return leave_to_caller();
  const unsigned char* is_active = nullptr;
  if (flags != Py_None) {
    const bool taken = body.batched && is_array(flags) && active.take(flags, '?', false);
    if (!taken || !active.has_shape({body.rows})) return leave_to_caller();
    is_active = active.data<const unsigned char>();
  }
  const Reference outputs = out == Py_None ? new_outputs(body, steps) : share(out);
  if (!outputs) return nullptr;
  if (!is_array(outputs.get()) || !ys.take(outputs.get(), body.format, true) ||
      !fits(ys, steps, body.units) || ys.overlaps(xs) || (is_active && ys.overlaps(active))) {
    return leave_to_caller();
  }

  const int64_t number = steps < 0 ? 1 : steps;
  PyThreadState* released =
      number * body.stream->work() < kReleases ? nullptr : PyEval_SaveThread();
  bool done = true;
  try {
    body.stream->run(number, xs.data<const void>(), is_active, ys.data<void>());
  } catch (const std::bad_alloc&) {
    done = false;
  }
  if (released != nullptr) PyEval_RestoreThread(released);
  if (!done) return PyErr_NoMemory();
  return share(outputs.get()).release();
}

// Between these no other thread runs the stream: its caller may read and write the states.
PyObject* enter(PyObject* self, PyObject*) {
  Use use(*reinterpret_cast<Object*>(self)->body);
  if (!use.granted()) return nullptr;
  use.keep();
  return share(self).release();
}

PyObject* exit(PyObject* self, PyObject*) {
  reinterpret_cast<Object*>(self)->body->in_use = false;
  return share(Py_None).release();
}

PyObject* wrong(const char* message) {
  PyErr_SetString(PyExc_ValueError, message);
  return nullptr;
}

// Opens the stream of a body. Each layer is (kernel, recurrent_kernel, bias, candidate_bias,
// reset_after, state), arrays as in ForwardProblem, or None.
template <class T>
PyObject* open(Body& body, PyObject* layers) {
  const Py_ssize_t count = PyTuple_Size(layers);
  if (count < 1) return PyErr_Occurred() ? nullptr : wrong("loops: expected layers");
  std::vector<StreamLayer<T>> opened(count);
  const std::unique_ptr<View[]> weights(new View[4 * count]);
  body.states.reset(new View[count]);
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject *arrays[4], *state;
    int reset_after;
    PyObject* given = PyTuple_GetItem(layers, i);
    if (!PyTuple_Check(given)) return wrong("loops: expected a tuple for each layer");
    if (!PyArg_ParseTuple(given, "OOOOpO", &arrays[0], &arrays[1], &arrays[2], &arrays[3],
                          &reset_after, &state)) {
      return nullptr;
    }
    View* of_layer = weights.get() + 4 * i;
    View& states = body.states[i];
    StreamLayer<T>& layer = opened[i];
    const auto take = [&](int j, bool optional) -> const T* {
      if (optional && arrays[j] == Py_None) return nullptr;
      return of_layer[j].take(arrays[j], body.format, false) ? of_layer[j].data<const T>()
                                                             : nullptr;
    };
    layer.kernel = take(0, false);
    layer.recurrent_kernel = take(1, false);
    layer.bias = take(2, true);
    layer.candidate_bias = take(3, true);
    if (!layer.kernel || !layer.recurrent_kernel || of_layer[0].rank() != 2) {
      return wrong("loops: expected kernels in the type of the stream");
    }
    layer.reset_after = reset_after;
    layer.inputs = of_layer[0].size(0);
    layer.units = of_layer[0].size(1) / 3;
    const int64_t H = layer.units;
    const bool fits =
        H > 0 && layer.inputs > 0 && of_layer[0].has_shape({layer.inputs, 3 * H}) &&
        of_layer[1].has_shape({H, 3 * H}) &&
        (arrays[2] == Py_None || (layer.bias && of_layer[2].has_shape({3 * H}))) &&
        (arrays[3] == Py_None || (layer.candidate_bias && of_layer[3].has_shape({H}))) &&
        (i == 0 || layer.inputs == opened[i - 1].units) && states.take(state, body.format, true) &&
        states.has_shape({body.rows, H});
    if (!fits) return wrong("loops: shapes do not fit together");
    layer.state = states.template data<T>();
  }
  body.inputs = opened.front().inputs;
  body.units = opened.back().units;
  body.stream.reset(kernel().loops<T>().open_stream(body.rows, opened.data(), count));
  const long long B = body.rows, H = body.units;
  body.step_arguments.reset(body.batched ? Py_BuildValue("((LL)O)", B, H, body.dtype.get())
                                         : Py_BuildValue("((L)O)", H, body.dtype.get()));
  return body.step_arguments.get();
}

// Stream(numpy.ndarray, numpy.empty, dtype, format, rows, batched, layers)
PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject*) {
  PyObject *array_type, *empty, *dtype, *layers;
  int format, batched;
  long long rows;
  if (!PyArg_ParseTuple(arguments, "OOOCLpO!", &array_type, &empty, &dtype, &format, &rows,
                        &batched, &PyTuple_Type, &layers)) {
    return nullptr;
  }
  if (rows < 1 || (format != 'f' && format != 'd')) {
    return wrong("loops: expected rows, and float32 or float64");
  }
  const auto allocate = reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc));
  Reference self(allocate(type, 0));
  if (!self) return nullptr;
  try {
    auto& body = reinterpret_cast<Object*>(self.get())->body;
    body = new Body;
    body->format = static_cast<char>(format);
    body->batched = batched;
    body->rows = rows;
    body->array_type = share(array_type);
    body->empty = share(empty);
    body->dtype = share(dtype);
    if (format == 'f' ? !open<float>(*body, layers) : !open<double>(*body, layers)) return nullptr;
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  return self.release();
}

void destroy(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete reinterpret_cast<Object*>(self)->body;
  reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free))(self);
  Py_DecRef(reinterpret_cast<PyObject*>(type));
}

template <class Function>
PyCFunction method(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"run", method(run), METH_FASTCALL, nullptr},
    {"__enter__", enter, METH_NOARGS, nullptr},
    {"__exit__", exit, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(make)},
    {Py_tp_dealloc, reinterpret_cast<void*>(destroy)},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {"loops.Stream", sizeof(Object), 0, Py_TPFLAGS_DEFAULT, slots};

int fill(PyObject* module) {
  const Reference type(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return type ? PyModule_AddObjectRef(module, "Stream", type.get()) : -1;
}

PyModuleDef_Slot module_slots[] = {{Py_mod_exec, reinterpret_cast<void*>(fill)}, {0, nullptr}};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "loops", nullptr, 0, nullptr, module_slots, nullptr, nullptr, nullptr,
};

}  // namespace
}  // namespace jaxgru

PyMODINIT_FUNC PyInit_loops() { return PyModuleDef_Init(&jaxgru::definition); }
