"""What a contender is: a library's GRU made ready to be timed."""

import abc
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problem import Array, Problem, Shape, Weights


class Program(NamedTuple):
    """A compiled callable with its arguments ready: ``call()`` returns when the result is there."""

    call: Callable[[], Any]
    compile_seconds: float = 0.0
    temp_bytes: int | None = None


class Contender(abc.ABC):
    """One library's GRU: its weights, its layout, and what is timed of it."""

    name: str
    # Which of the two GRUs it is: the reset gate after the product with the state, or before it.
    reset_after: bool = True
    # Whether it has the candidate's bias that the reset gate multiplies.
    candidate_bias: bool = True
    time_major: bool = False

    @abc.abstractmethod
    def weights(self, weights: Weights) -> Any:
        """Return the weights as this library keeps them. The map is linear; the check needs it."""

    @abc.abstractmethod
    def forward(self, problem: Problem) -> Program:
        """Return a program whose result is the states, in this library's layout."""

    @abc.abstractmethod
    def train(self, problem: Problem) -> Program | None:
        """Return a program for the loss and its gradients; None where the library has none.

        The loss is the mean of the squares of all states. The result is
        ``(loss, (gradients of the weights' leaves, gradient of the inputs))``.
        """

    def layout(self, xs: Array) -> Array:
        """Return a batch-first array in this library's layout; its own inverse."""
        return np.ascontiguousarray(np.swapaxes(xs, 0, 1)) if self.time_major else xs


class JaxContender(Contender):
    """A GRU in JAX: jitted, with its weights as arguments."""

    @abc.abstractmethod
    def layer(self, shape: Shape) -> Callable[[Any, jax.Array], jax.Array]:
        """Return the function from (weights, inputs) to the states of all steps."""

    def forward(self, problem: Problem) -> Program:
        """See Contender."""
        apply, leaves = self._flat(problem)
        return jax_program(apply, leaves, jnp.asarray(self.layout(problem.xs)))

    def train(self, problem: Problem) -> Program:
        """See Contender."""
        apply, leaves = self._flat(problem)

        def loss(leaves: list[jax.Array], xs: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(apply(leaves, xs)))

        step = jax.value_and_grad(loss, argnums=(0, 1))
        return jax_program(step, leaves, jnp.asarray(self.layout(problem.xs)))

    def _flat(self, problem: Problem) -> tuple[Callable[..., jax.Array], list[jax.Array]]:
        # The weights go in as a plain list, so that no library's container costs time per call.
        leaves, structure = jax.tree.flatten(self.weights(problem.weights))
        layer = self.layer(problem.shape)

        def apply(leaves: list[jax.Array], xs: jax.Array) -> jax.Array:
            return layer(jax.tree.unflatten(structure, leaves), xs)

        return apply, [jnp.asarray(leaf) for leaf in leaves]


def jax_program(function: Callable[..., Any], *arguments: Any) -> Program:
    """Return a JAX function compiled for its arguments, with what compiling it took."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return Program(
        lambda: jax.block_until_ready(compiled(*arguments)),
        seconds,
        None if memory is None else memory.temp_size_in_bytes,
    )
