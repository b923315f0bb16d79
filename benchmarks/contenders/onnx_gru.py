"""ONNX Runtime: a model of one GRU node, forward only."""

import time

import numpy as np
import onnx
import onnxruntime

from benchmarks.contenders.contender import Contender, Program
from benchmarks.problem import Array, Problem, Shape, Weights


class OnnxRuntime(Contender):
    """The CPU provider with its default threads and all its optimisations."""

    name = "onnxruntime"
    time_major = True

    def weights(self, weights: Weights) -> list[Array]:
        """See Contender."""
        biases = np.concatenate([weights.bias, weights.recurrent_bias])
        return [weights.kernel.T[None], weights.recurrent_kernel.T[None], biases[None]]

    def forward(self, problem: Problem) -> Program:
        """See Contender."""
        start = time.perf_counter()
        session = onnxruntime.InferenceSession(
            _model(problem.shape, self.weights(problem.weights)).SerializeToString(),
            providers=["CPUExecutionProvider"],
        )
        seconds = time.perf_counter() - start
        feed = {"X": onnxruntime.OrtValue.ortvalue_from_numpy(self.layout(problem.xs))}

        def call() -> Array:
            return session.run_with_ort_values(["Y"], feed)[0]

        return Program(call, seconds)

    def train(self, problem: Problem) -> None:
        """Return None: ONNX Runtime trains nothing here."""


def _model(shape: Shape, leaves: list[Array]) -> onnx.ModelProto:
    node = onnx.helper.make_node(
        "GRU",
        ["X", "W", "R", "B"],
        ["states"],
        hidden_size=shape.units,
        linear_before_reset=1,
    )
    # The node gives (time, directions, batch, units).
    squeeze = onnx.helper.make_node("Squeeze", ["states", "directions"], ["Y"])
    constants = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(leaf), name)
        for name, leaf in zip("WRB", leaves, strict=True)
    ]
    constants.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "directions"))
    tensor, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node, squeeze],
        "gru",
        [tensor("X", float32, [shape.time, shape.batch, shape.inputs])],
        [tensor("Y", float32, [shape.time, shape.batch, shape.units])],
        constants,
    )
    opset = onnx.helper.make_opsetid("", 22)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
