"""The errors of half-precision weights: ``python -m benchmarks.half_precision``.

Prints the errors against float64 with unrounded weights and inputs: the largest error of a state,
against a NumPy loop, and that of the gradient (of the mean square of all states, for all weights)
relative to its norm, against jaxgru in double precision. In the last two rows, a plain scan also
has the state in half precision, for comparison with the float32 state of jaxgru.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxgru
from benchmarks.contenders.plain_scan import PlainScan
from benchmarks.problem import Array, Problem, Shape, Weights, draw_problem
from benchmarks.reference import gru_states

_DATA = Path(__file__).parents[1] / "examples" / "data"

Layer = Callable[[Weights, jax.Array], jax.Array]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, in Markdown."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.half_precision", description=__doc__
    ).parse_args(arguments)
    jax.config.update("jax_enable_x64", True)  # for exact values; others have explicit types
    problems = _problems()
    print(
        "| weights, inputs, state |", " | ".join(f"{p}: states | gradient" for p in problems), "|"
    )
    print("| --- |", " | ".join(["---: | ---:"] * len(problems)), "|")
    for layer, weights, inputs, state in (
        (_jaxgru, "float32", "float32", "float32"),
        (_jaxgru, "float16", "float32", "float32"),
        (_jaxgru, "bfloat16", "float32", "float32"),
        (_jaxgru, "float16", "float16", "float32"),
        (_jaxgru, "bfloat16", "bfloat16", "float32"),
        (_plain_scan, "float16", "float16", "float16"),
        (_plain_scan, "bfloat16", "bfloat16", "bfloat16"),
    ):
        errors = [e for p in problems.values() for e in _errors(layer, p, weights, inputs)]
        types = f"{weights}, {inputs}, {state}"
        print("|", " | ".join([types, *(f"{e:.1e}" for e in errors)]), "|", flush=True)


def _problems() -> dict[str, Problem]:
    with np.load(_DATA / "gru.npz") as file:
        trained = Weights(file["wMatrix"], file["uMatrix"], *file["biases"])
    xs = np.load(_DATA / "inputs.npy")[None]
    units = len(trained.recurrent_kernel)
    return {
        "trained, 6 units, 100 steps": Problem(Shape(*xs.shape, units), trained, xs),
        "random, 64 units, 1,000 steps": draw_problem(Shape(4, 1000, 40, 64)),
        "random, 256 units, 1,000 steps": draw_problem(Shape(4, 1000, 128, 256)),
    }


def _jaxgru(weights: Weights, xs: jax.Array) -> jax.Array:
    return jaxgru.gru(jaxgru.GRUParams(*weights), xs)[0]


def _plain_scan(weights: Weights, xs: jax.Array) -> jax.Array:
    shape = Shape(*xs.shape, len(weights.recurrent_kernel))
    return PlainScan().layer(shape)(weights, jnp.zeros((shape.batch, shape.units), xs.dtype), xs)


def _errors(layer: Layer, problem: Problem, weights: str, inputs: str) -> tuple[float, float]:
    """Return the largest error of a state, and that of the gradient relative to its norm."""
    states = np.float64(jax.jit(layer)(*_rounded(problem, weights, inputs)))
    exact = _gradient(_jaxgru, problem, "float64", "float64")
    gradient = _gradient(layer, problem, weights, inputs)
    return (
        np.abs(states - gru_states(problem.weights, problem.xs)).max(),
        np.linalg.norm(gradient - exact) / np.linalg.norm(exact),
    )


def _gradient(layer: Layer, problem: Problem, weights: str, inputs: str) -> Array:
    """Return the gradient of the mean square of all states by all weights, as one vector."""

    def loss(weights: Weights, xs: jax.Array) -> jax.Array:
        states = layer(weights, xs)
        # A mean in half precision would add an error.
        return (states.astype(jnp.promote_types(states.dtype, jnp.float32)) ** 2).mean()

    gradients = jax.jit(jax.grad(loss))(*_rounded(problem, weights, inputs))
    return np.concatenate([np.float64(leaf).ravel() for leaf in gradients])


def _rounded(problem: Problem, weights: str, inputs: str) -> tuple[Weights, jax.Array]:
    leaves = (jnp.asarray(leaf, weights) for leaf in problem.weights)
    return Weights(*leaves), jnp.asarray(problem.xs, inputs)


if __name__ == "__main__":
    main()
