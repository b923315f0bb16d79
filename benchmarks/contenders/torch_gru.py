"""PyTorch: ``torch.nn.GRU``, on every core of the CPU or on a CUDA device."""

import os
import time
from typing import Any

import jax
import torch

from benchmarks.contenders.contender import Contender, Program
from benchmarks.problem import Array, Problem, Weights, reset_first


class Torch(Contender):
    """Forward in inference mode; gradients by autograd."""

    name = "torch"
    time_major = True

    def __init__(self) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
        self.device = torch.device("cuda" if on_gpu else "cpu")

    def weights(self, weights: Weights) -> list[Array]:
        """See Contender."""
        return [reset_first(weight).T for weight in weights]

    def forward(self, problem: Problem) -> Program:
        """See Contender."""
        module, xs = self._module(problem)

        def call() -> torch.Tensor:
            with torch.inference_mode():
                ys = module(xs)[0]
            self._wait()
            return ys.cpu()

        return _after_first_call(call)

    def train(self, problem: Problem) -> Program:
        """See Contender."""
        module, xs = self._module(problem)
        xs.requires_grad_()
        wanted = [*module.parameters(), xs]

        def call() -> Any:
            loss = module(xs)[0].square().mean()
            *gradients, of_inputs = torch.autograd.grad(loss, wanted)
            self._wait()
            return loss.detach().cpu(), (gradients, of_inputs)

        return _after_first_call(call)

    def _module(self, problem: Problem) -> tuple[torch.nn.GRU, torch.Tensor]:
        module = torch.nn.GRU(problem.shape.inputs, problem.shape.units)
        with torch.no_grad():
            leaves = self.weights(problem.weights)
            for parameter, leaf in zip(module.parameters(), leaves, strict=True):
                parameter.copy_(torch.from_numpy(leaf))
        xs = torch.from_numpy(self.layout(problem.xs).copy())
        return module.to(self.device), xs.to(self.device)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _after_first_call(call: Any) -> Program:
    # Nothing is compiled ahead; what the first call sets up is reported in its place.
    start = time.perf_counter()
    call()
    return Program(call, time.perf_counter() - start)
