"""OpenVINO: the ONNX model of one GRU node on the CPU, in float32; inference only."""

import time
from typing import Any

import numpy as np
import openvino

from benchmarks.contenders.contender import Program
from benchmarks.contenders.onnx_gru import OnnxRuntime, onnx_model, zero_state
from benchmarks.problem import Array, Problem


class OpenVino(OnnxRuntime):
    """Compiled for latency; products stay in float32, which is not its default everywhere."""

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads is not None:
            self.config["INFERENCE_NUM_THREADS"] = threads

    def to_numpy(self, leaf: openvino.Tensor) -> Array:
        return np.array(leaf.data)

    def forward(self, problem: Problem) -> Program:
        request, seconds = self._request(problem)

        def call() -> Any:
            request.infer()
            return request.get_output_tensor()

        return Program(call, seconds)

    def _request(self, problem: Problem) -> tuple[Any, float]:
        start = time.perf_counter()
        core = openvino.Core()
        content = onnx_model(problem.shape, self.weights(problem.weights), "ys")
        model = core.read_model(content.SerializeToString())
        request = core.compile_model(model, "CPU", self.config).create_infer_request()
        seconds = time.perf_counter() - start
        arrays = {"xs": self.layout(problem.xs), "h0": zero_state(problem)}
        for name, value in arrays.items():
            request.set_tensor(name, openvino.Tensor(value.copy()))
        return request, seconds
