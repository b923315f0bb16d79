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
    """A callable with its arguments ready: ``call()`` returns once the result is there."""

    call: Callable[[], Any]
    # What it took to compile, and the memory it takes beside arguments and result; None where
    # the library compiles nothing or does not tell.
    compile_seconds: float | None = None
    temp_bytes: int | None = None


class Contender(abc.ABC):
    """One library's GRU: its weights, its layout, and the programs that are timed of it."""

    # Which of the two GRUs it is: the reset gate after the product with the state, or before it.
    reset_after: bool = True
    # Whether it has the candidate's bias that the reset gate multiplies.
    candidate_bias: bool = True
    # The layout of its inputs and states: the library's default.
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

    @abc.abstractmethod
    def step(self, problem: Problem) -> Program:
        """Return a program that goes one step, on the first input, from where its last call ended.

        It is the library's cell, where it has one. The result is the new state.
        """

    @abc.abstractmethod
    def chunk(self, problem: Problem) -> Program:
        """Return a program that goes over all inputs from where its last call ended.

        The result is the new state.
        """

    def layout(self, xs: Array) -> Array:
        """Return a batch-first array in this library's layout; its own inverse."""
        return np.ascontiguousarray(np.swapaxes(xs, 0, 1)) if self.time_major else xs

    def to_numpy(self, leaf: Any) -> Array:
        """Return one array of a program's result as a NumPy array."""
        return np.asarray(leaf)


class JaxContender(Contender):
    """A GRU in JAX: jitted, with its weights as arguments.

    The weights go in as a plain list, so that no library's container costs time at each call.
    """

    @abc.abstractmethod
    def layer(self, shape: Shape) -> Callable[[Any, jax.Array, jax.Array], jax.Array]:
        """Return the function from (weights, state, inputs) to the states of all steps."""

    @abc.abstractmethod
    def cell(self, shape: Shape) -> Callable[[Any, jax.Array, jax.Array], jax.Array]:
        """Return the function from (weights, state, one input) to the new state."""

    def forward(self, problem: Problem) -> Program:
        """See Contender."""
        states, leaves = self._from_zero(problem)
        return jax_program(states, leaves, self._inputs(problem))

    def train(self, problem: Problem) -> Program:
        """See Contender."""
        states, leaves = self._from_zero(problem)

        def loss(leaves: list[jax.Array], xs: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(states(leaves, xs)))

        return jax_program(jax.value_and_grad(loss, argnums=(0, 1)), leaves, self._inputs(problem))

    def step(self, problem: Problem) -> Program:
        """See Contender."""
        cell, leaves = self._flat(problem, self.cell(problem.shape))

        def one_step(leaves: list[jax.Array], h: jax.Array, x: jax.Array) -> tuple[jax.Array]:
            return (cell(leaves, h, x),)

        return _stream(one_step, leaves, _zero_state(problem), jnp.asarray(problem.xs[:, 0]))

    def chunk(self, problem: Problem) -> Program:
        """See Contender."""
        layer, leaves = self._flat(problem, self.layer(problem.shape))

        def all_steps(
            leaves: list[jax.Array], h: jax.Array, xs: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            ys = layer(leaves, h, xs)
            return ys[-1] if self.time_major else ys[:, -1], ys

        return _stream(all_steps, leaves, _zero_state(problem), self._inputs(problem))

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
    return jnp.zeros((problem.shape.batch, problem.shape.units), jnp.float32)


def jax_program(function: Callable[..., Any], *arguments: Any) -> Program:
    """Return a program that is the function, compiled, of these arguments."""
    compiled, seconds, temp_bytes = _compile(function, *arguments)
    return Program(lambda: jax.block_until_ready(compiled(*arguments)), seconds, temp_bytes)


def _stream(function: Callable[..., Any], leaves: Any, h: jax.Array, xs: jax.Array) -> Program:
    compiled, seconds, temp_bytes = _compile(function, leaves, h, xs)

    def call() -> jax.Array:
        nonlocal h
        h = jax.block_until_ready(compiled(leaves, h, xs))[0]
        return h

    return Program(call, seconds, temp_bytes)


def _compile(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float, int | None]:
    # Compiled ahead, so that compiling is timed by itself; a call costs what jit's own call does.
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return compiled, seconds, None if memory is None else memory.temp_size_in_bytes
