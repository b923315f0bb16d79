"""Steps as a control loop or an audio callback has them: a NumPy array in, one out, the state kept.

Each entry of ``STEPPERS`` is a function of a problem: T steps a call, B streams. It returns what is
called with the inputs of a call and returns its outputs, and the shape of these inputs. All compute
on one thread, many streams on all, and in the way that their documentation names as the fastest.
"""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgru
from benchmarks.problem import Array, Problem, reset_first

Call = Callable[[Array], Array]
Stepper = Callable[[Problem], tuple[Call, tuple[int, ...]]]


def _stream_out(problem: Problem) -> tuple[Call, tuple[int, ...]]:
    stream, leading = _stream(problem)
    out = np.empty((*leading, problem.shape.units), np.float32)
    return lambda x: stream(x, out), (*leading, problem.shape.inputs)


def _stream_new(problem: Problem) -> tuple[Call, tuple[int, ...]]:
    stream, leading = _stream(problem)
    return stream, (*leading, problem.shape.inputs)


def _stream(problem: Problem) -> tuple[jaxgru.Stream, tuple[int, ...]]:
    rows, steps, *_ = problem.shape
    stream = jaxgru.Stream(jaxgru.GRUParams(*problem.weights), None if rows == 1 else rows)
    leading = (*((steps,) if steps > 1 else ()), *((rows,) if rows > 1 else ()))
    return stream, leading


def _jitted(problem: Problem) -> tuple[Call, tuple[int, ...]]:
    """The cell or the layer, compiled, with the weights closed over."""
    rows, steps, inputs, units = problem.shape
    params = jaxgru.GRUParams(*jax.tree.map(jax.numpy.asarray, problem.weights))
    h: Any = np.zeros((rows, units), np.float32)
    if steps == 1:
        step = jax.jit(functools.partial(jaxgru.gru_cell, params))

        def one(x: Array) -> Array:
            nonlocal h
            h = step(h, x)
            return np.asarray(h)

        return one, (rows, inputs)
    run = jax.jit(functools.partial(jaxgru.gru, params, time_major=True))

    def some(xs: Array) -> Array:
        nonlocal h
        ys, h = run(xs, h)
        return np.asarray(ys)

    return some, (steps, rows, inputs)


def _onnxruntime(problem: Problem) -> tuple[Call, tuple[int, ...]]:
    """I/O binding, and two states that are input and output in turn."""
    import onnxruntime

    shape = problem.shape
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads(problem)
    session = onnxruntime.InferenceSession(
        _onnx_model(problem), options, providers=["CPUExecutionProvider"]
    )
    rows, steps, inputs, units = shape
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type
    x, ys = value((steps, rows, inputs), np.float32), value((steps, 1, rows, units), np.float32)
    states = [
        onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, rows, units), np.float32))
        for _ in range(2)
    ]
    bindings = []
    for before, after in (states, states[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("xs", x)
        binding.bind_ortvalue_input("h0", before)
        binding.bind_ortvalue_output("states", ys)
        binding.bind_ortvalue_output("h", after)
        bindings.append(binding)

    def call(given: Array) -> Array:
        x.update_inplace(given)
        session.run_with_iobinding(bindings[0])
        bindings.reverse()
        return ys.numpy()

    return call, (steps, rows, inputs)


def _openvino(problem: Problem) -> tuple[Call, tuple[int, ...]]:
    import openvino

    rows, steps, inputs, units = problem.shape
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    config["INFERENCE_NUM_THREADS"] = _threads(problem)
    core = openvino.Core()
    model = core.read_model(_onnx_model(problem))
    request = core.compile_model(model, "CPU", config).create_infer_request()
    arrays = [np.zeros((steps, rows, inputs), np.float32), np.zeros((1, rows, units), np.float32)]
    for name, array in zip(("xs", "h0"), arrays, strict=True):
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    ys, after = request.get_tensor("states").data, request.get_tensor("h").data
    x, before = arrays

    def call(given: Array) -> Array:
        x[...] = given
        request.infer()
        before[...] = after
        return ys.copy()

    return call, (steps, rows, inputs)


def _torch(problem: Problem) -> tuple[Call, tuple[int, ...]]:
    """``GRUCell``, and ``GRU`` for several steps."""
    import torch

    rows, steps, inputs, units = problem.shape
    kind = torch.nn.GRUCell if steps == 1 else torch.nn.GRU
    module = kind(inputs, units)
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), problem.weights, strict=True):
            parameter.copy_(torch.tensor(reset_first(weight).T))
    h = torch.zeros((rows, units) if steps == 1 else (1, rows, units))
    torch.set_num_threads(_threads(problem))

    @torch.inference_mode()
    def call(x: Array) -> Array:
        nonlocal h
        if steps == 1:
            ys = h = module(torch.from_numpy(x), h)
        else:
            ys, h = module(torch.from_numpy(x), h)
        return ys.numpy()

    return call, (rows, inputs) if steps == 1 else (steps, rows, inputs)


def _litert(problem: Problem) -> tuple[Call, tuple[int, ...]]:
    """Its interpreter, with XNNPACK; TensorFlow converts the model, in another process."""
    from ai_edge_litert.interpreter import Interpreter

    rows, steps, inputs, units = problem.shape
    with tempfile.TemporaryDirectory() as folder:
        weights, path = Path(folder, "weights.npz"), Path(folder, "model.tflite")
        np.savez(weights, **problem.weights._asdict())
        command = [sys.executable, "-m", "benchmarks.litert_model", weights, path, steps, rows]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        content = path.read_bytes()
    interpreter = Interpreter(model_content=content, num_threads=_threads(problem))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    places = [runner.get_input_details()[name]["index"] for name in ("xs", "h0")]
    results = [runner.get_output_details()[name]["index"] for name in ("ys", "h")]
    interpreter.set_tensor(places[1], np.zeros((rows, units), np.float32))

    def call(xs: Array) -> Array:
        interpreter.set_tensor(places[0], xs)
        interpreter.invoke()
        interpreter.set_tensor(places[1], interpreter.get_tensor(results[1]))
        return interpreter.get_tensor(results[0])

    return call, (steps, rows, inputs)


def _threads(problem: Problem) -> int:
    return 1 if problem.shape.batch == 1 else os.cpu_count() or 1


def _onnx_model(problem: Problem) -> bytes:
    """Return the model of one GRU node with both of its outputs."""
    from benchmarks.contenders.onnx_gru import OnnxRuntime, onnx_model

    leaves = OnnxRuntime().weights(problem.weights)
    content: bytes = onnx_model(problem.shape, leaves, "states", "h").SerializeToString()
    return content


# By name, with the packages that each needs.
STEPPERS: dict[str, tuple[tuple[str, ...], Stepper]] = {
    "jaxgru.Stream, out given": ((), _stream_out),
    "jaxgru.Stream": ((), _stream_new),
    "jax.jit": ((), _jitted),
    "ONNX Runtime": (("onnx", "onnxruntime"), _onnxruntime),
    "OpenVINO": (("onnx", "onnxruntime", "openvino"), _openvino),
    "LiteRT": (("ai_edge_litert", "tensorflow"), _litert),
    "PyTorch": (("torch",), _torch),
}
