"""PyTorch: ``torch.nn.GRU``, on the CPU or on a CUDA device."""

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.contenders.contender import Contender, Program
from benchmarks.problem import Array, Problem, Weights, reset_first


class Torch(Contender):
    """Forward in inference mode; gradients by autograd."""

    time_major = True

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or os.cpu_count() or 1
        on_gpu = jax.default_backend() == "gpu"
        if on_gpu and not torch.cuda.is_available():
            raise ValueError("this torch has no CUDA: it cannot run where JAX does")
        self.device = torch.device("cuda" if on_gpu else "cpu")

    def weights(self, weights: Weights) -> list[Array]:
        return [reset_first(weight).T for weight in weights]

    def to_numpy(self, leaf: torch.Tensor) -> Array:
        return leaf.detach().cpu().float().numpy()

    def forward(self, problem: Problem) -> Program:
        layer, xs = self._filled(torch.nn.GRU, problem), self._inputs(problem.xs)
        return self._with_memory(self._program(torch.inference_mode()(lambda: layer(xs)[0])))

    def train(self, problem: Problem) -> Program:
        layer, xs = self._filled(torch.nn.GRU, problem), self._inputs(problem.xs)
        xs.requires_grad_()
        wanted = [*layer.parameters(), xs]

        def loss_and_gradients() -> Any:
            loss = layer(xs)[0].square().mean()
            *gradients, of_inputs = torch.autograd.grad(loss, wanted)
            return loss, (gradients, of_inputs)

        return self._with_memory(self._program(loss_and_gradients))

    def _inputs(self, xs: Array) -> torch.Tensor:
        dtype = getattr(torch, xs.dtype.name)  # of bfloat16, NumPy has only the bits
        return torch.tensor(self.layout(xs.astype(np.float32)), dtype=dtype, device=self.device)

    def _filled(self, kind: type[torch.nn.Module], problem: Problem) -> torch.nn.Module:
        module = kind(problem.shape.inputs, problem.shape.units, device=self.device)
        with torch.no_grad():
            for parameter, leaf in zip(
                module.parameters(), self.weights(problem.weights), strict=True
            ):
                parameter.copy_(torch.tensor(leaf.astype(np.float32)))
        return module.to(getattr(torch, problem.xs.dtype.name))

    def _program(self, function: Callable[[], Any]) -> Program:
        def on_cpu() -> Any:
            torch.set_num_threads(self.threads)
            return function()

        def on_gpu() -> Any:
            result = function()
            torch.cuda.synchronize()
            return result

        return Program(on_cpu if self.device.type == "cpu" else on_gpu)

    def _with_memory(self, program: Program) -> Program:
        # PyTorch reports the memory of its CUDA allocator, and nothing on a CPU.
        if self.device.type == "cpu":
            return program
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        program.call()
        return program._replace(temp_bytes=torch.cuda.max_memory_allocated() - before)
