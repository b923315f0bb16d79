"""Checks that a contender computes the GRU and its gradient correctly."""

import jax
import numpy as np

from benchmarks.contenders import Contender, Entry
from benchmarks.problem import Array, Problem, Shape, Weights, draw_problem, draw_weights
from benchmarks.reference import gru_states

_SHAPE = Shape(batch=3, time=7, inputs=4, units=5)


def check(entry: Entry) -> None:
    """Raise ArithmeticError unless all programs of a contender agree with the equations.

    The equations are a loop in float64 NumPy, in reference.py. Gradients are compared along random
    directions with central differences of the loss of that loop. As each library maps the weights
    linearly, the product of gradient and direction is the same number in all libraries.
    """
    contender, problem = entry.contender, draw_problem(_SHAPE)
    weights, xs = problem.weights, problem.xs
    states = contender.to_numpy(contender.forward(problem).call())
    _agree(entry, "states", contender.layout(states), _states(contender, weights, xs))
    _check_gradients(entry, problem)


def _check_gradients(entry: Entry, problem: Problem) -> None:
    contender, (shape, weights, xs) = entry.contender, problem
    program = contender.train(problem)
    if program is None:
        return
    loss, (of_weights, of_xs) = jax.tree.map(contender.to_numpy, program.call())
    _agree(entry, "loss", loss, _loss(contender, weights, xs))
    of_xs = contender.layout(of_xs)
    rng = np.random.default_rng(1)
    for _ in range(8):
        along = draw_weights(shape, rng)
        got = sum(map(np.vdot, of_weights, jax.tree.leaves(contender.weights(along))))
        _agree(entry, "gradient of the weights", got, _slope(contender, problem, along, 0 * xs))
        along_xs = rng.standard_normal(xs.shape)
        still = Weights(*(0 * weight for weight in weights))
        got = np.vdot(of_xs, along_xs)
        _agree(entry, "gradient of the inputs", got, _slope(contender, problem, still, along_xs))


def _agree(entry: Entry, what: str, got: Array, want: Array) -> None:
    # All these numbers are of order 1 or less, float32 rounds at 6e-8, and seven steps have some
    # tens of roundings; an accelerator may multiply in TF32, which rounds at 5e-4.
    tolerance = 1e-5 if jax.default_backend() == "cpu" else 2e-2
    error = float(np.max(np.abs(got - want)))
    if not error <= tolerance:
        raise ArithmeticError(f"{entry.name}: {what} off by {error:.1e}, expected <= {tolerance}")


def _slope(contender: Contender, problem: Problem, along: Weights, along_xs: Array) -> Array:
    # The error of the difference in float64 is about the square of this step.
    step, (_, weights, xs) = 1e-5, problem

    def loss(sign: float) -> Array:
        moved = [
            np.float64(value) + sign * step * np.float64(direction)
            for value, direction in zip((*weights, xs), (*along, along_xs), strict=True)
        ]
        return _loss(contender, Weights(*moved[:-1]), moved[-1])

    return (loss(+1.0) - loss(-1.0)) / (2 * step)


def _loss(contender: Contender, weights: Weights, xs: Array) -> Array:
    return np.mean(np.square(_states(contender, weights, xs)))


def _states(contender: Contender, weights: Weights, xs: Array) -> Array:
    """Return the states ``(batch, time, units)`` of the variant of this contender, in float64."""
    return gru_states(
        weights,
        xs,
        reset_after=contender.reset_after,
        candidate_bias=contender.candidate_bias,
    )
