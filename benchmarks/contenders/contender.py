"""The interface of a contender: a GRU of a library, ready to be timed."""

import abc
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problem import Array, Problem, Shape, Weights

# From (weights, state, inputs) to states.
Apply = Callable[[Any, jax.Array, jax.Array], jax.Array]


class Program(NamedTuple):
    """A callable with its arguments bound: ``call()`` returns when the result is ready."""

    call: Callable[[], Any]
    # The time for compiling, and the memory in addition to arguments and result; None if the
    # library does not compile or does not report it.
    compile_seconds: float | None = None
    temp_bytes: int | None = None


class Contender(abc.ABC):
    """The GRU of a library: its weights, its layout, and the programs to be timed."""

    # Whether the reset gate is after the product with the state, or before it.
    reset_after: bool = True
    # Whether it has the bias of the candidate inside the reset gate.
    candidate_bias: bool = True
    # The layout of its inputs and states: the library's default.
    time_major: bool = False

    @abc.abstractmethod
    def weights(self, weights: Weights) -> Any:
        """Return the weights in the form of this library; the check requires a linear map."""

    @abc.abstractmethod
    def forward(self, problem: Problem) -> Program:
        """Return a program for the states, in the layout of this library."""

    @abc.abstractmethod
    def train(self, problem: Problem) -> Program | None:
        """Return a program for the loss and its gradients; None if the library has none.

        The loss is the mean of the squares of all states. The result is
        ``(loss, (gradients of the weights' leaves, gradient of the inputs))``.
        """

    def layout(self, xs: Array) -> Array:
        """Convert an array from batch-first to the layout of this library, or back."""
        return np.ascontiguousarray(np.swapaxes(xs, 0, 1)) if self.time_major else xs

    def to_numpy(self, leaf: Any) -> Array:
        """Return one array of the result of a program as a NumPy array."""
        return np.asarray(leaf)


class JaxContender(Contender):
    """A GRU in JAX: jitted, with its weights as arguments.

    The weights are a plain list, so that flattening the container of a library takes no time.
    """

    def __init__(self, unroll: int = 1) -> None:
        self.unroll = unroll

    @abc.abstractmethod
    def layer(self, shape: Shape) -> Apply:
        """Return the function from (weights, state, inputs) to the states of all steps."""

    def forward(self, problem: Problem) -> Program:
        states, leaves = self._from_zero(problem)
        return jax_program(states, leaves, self._inputs(problem))

    def train(self, problem: Problem) -> Program:
        states, leaves = self._from_zero(problem)

        def loss(leaves: list[jax.Array], xs: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(states(leaves, xs)))

        return jax_program(jax.value_and_grad(loss, argnums=(0, 1)), leaves, self._inputs(problem))

    def _inputs(self, problem: Problem) -> jax.Array:
        return jnp.asarray(self.layout(problem.xs))

    def _from_zero(self, problem: Problem) -> tuple[Callable[..., jax.Array], list[jax.Array]]:
        layer, leaves = self._flat(problem, self.layer(problem.shape))
        return lambda leaves, xs: layer(leaves, _zero_state(problem), xs), leaves

    def _flat(
        self, problem: Problem, function: Callable[..., jax.Array]
    ) -> tuple[Callable[..., jax.Array], list[jax.Array]]:
        leaves, structure = jax.tree.flatten(self.weights(problem.weights))

        def flat(leaves: list[jax.Array], *rest: jax.Array) -> jax.Array:
            return function(jax.tree.unflatten(structure, leaves), *rest)

        return flat, [jnp.asarray(leaf) for leaf in leaves]


def _zero_state(problem: Problem) -> jax.Array:
    return jnp.zeros((problem.shape.batch, problem.shape.units), problem.xs.dtype)


def jax_program(function: Callable[..., Any], *arguments: Any) -> Program:
    """Return a program of the compiled function with these arguments."""
    compiled, seconds, temp_bytes = _compile(function, *arguments)
    return Program(lambda: jax.block_until_ready(compiled(*arguments)), seconds, temp_bytes)


def _compile(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float, int | None]:
    # Compiled ahead of time to time the compilation; a call takes as long as one by jit.
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return compiled, seconds, None if memory is None else memory.temp_size_in_bytes
