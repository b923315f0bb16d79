"""ONNX Runtime: a model of one GRU node on the CPU; inference only."""

import time
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime

from benchmarks.contenders.contender import Contender, Program
from benchmarks.problem import Array, Problem, Shape, Weights


class OnnxRuntime(Contender):
    """All optimizations, and arrays bound once to avoid copies in each call."""

    time_major = True

    def __init__(self, threads: int | None = None) -> None:
        if jax.default_backend() != "cpu":
            raise ValueError("onnxruntime is entered on the CPU alone")
        self.options = onnxruntime.SessionOptions()
        if threads is not None:
            self.options.intra_op_num_threads = threads

    def weights(self, weights: Weights) -> list[Array]:
        biases = np.concatenate([weights.bias, weights.recurrent_bias])
        return [weights.kernel.T[None], weights.recurrent_kernel.T[None], biases[None]]

    def to_numpy(self, leaf: onnxruntime.OrtValue) -> Array:
        return leaf.numpy()

    def forward(self, problem: Problem) -> Program:
        session, seconds = self._session(problem)
        binding = _bound(session, xs=self.layout(problem.xs), h0=zero_state(problem))

        def call() -> Any:
            session.run_with_iobinding(binding)
            return binding.get_outputs()[0]

        return Program(call, seconds)

    def train(self, problem: Problem) -> None:
        """Return None: it has no gradients."""

    def _session(self, problem: Problem) -> tuple[Any, float]:
        start = time.perf_counter()
        model = onnx_model(problem.shape, self.weights(problem.weights), "ys")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), self.options, providers=["CPUExecutionProvider"]
        )
        return session, time.perf_counter() - start


def zero_state(problem: Problem) -> Array:
    return np.zeros((1, problem.shape.batch, problem.shape.units), np.float32)


def _bound(session: Any, **inputs: Array) -> Any:
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
    binding.bind_output("ys", "cpu")  # a new array in each call, as in other libraries
    return binding


def onnx_model(shape: Shape, leaves: list[Array], *outputs: str) -> onnx.ModelProto:
    """Return the model of some outputs.

    ``ys`` and ``states`` are all states, without and with an axis of directions; ``h`` is the last.
    """
    node = onnx.helper.make_node(
        "GRU",
        ["xs", "W", "R", "B", "", "h0"],
        ["states", "h"],
        hidden_size=shape.units,
        linear_before_reset=1,
    )
    # The node returns all states as (time, directions, batch, units).
    squeeze = onnx.helper.make_node("Squeeze", ["states", "directions"], ["ys"])
    constants = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(leaf), name)
        for name, leaf in zip("WRB", leaves, strict=True)
    ]
    constants.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "directions"))
    sizes = {
        "xs": (shape.time, shape.batch, shape.inputs),
        "h0": (1, shape.batch, shape.units),
        "ys": (shape.time, shape.batch, shape.units),
        "states": (shape.time, 1, shape.batch, shape.units),
        "h": (1, shape.batch, shape.units),
    }
    tensors = {
        name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size)
        for name, size in sizes.items()
    }
    graph = onnx.helper.make_graph(
        [node, squeeze], "gru", [tensors["xs"], tensors["h0"]],
        [tensors[name] for name in outputs], constants,
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 22)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
