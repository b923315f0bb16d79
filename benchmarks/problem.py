"""The sizes, weights and inputs of all contenders, drawn once with NumPy."""

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Shape(NamedTuple):
    """The sizes of one problem."""

    batch: int
    time: int
    inputs: int
    units: int

    def __str__(self) -> str:
        return f"({self.batch}, {self.time}, {self.inputs}, {self.units})"


class Weights(NamedTuple):
    """The weights of a GRU as in Keras: the blocks update, reset, candidate joined."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array
    recurrent_bias: Array


class Problem(NamedTuple):
    """Weights and a batch-first input ``(batch, time, inputs)``, in float32."""

    shape: Shape
    weights: Weights
    xs: Array


def draw_problem(shape: Shape, seed: int = 0) -> Problem:
    """Return random weights, all biases non-zero, and a random input."""
    rng = np.random.default_rng(seed)
    xs = rng.standard_normal((shape.batch, shape.time, shape.inputs), np.float32)
    return Problem(shape, draw_weights(shape, rng), xs)


def draw_weights(shape: Shape, rng: np.random.Generator) -> Weights:
    """Return random weights with gates that are neither saturated nor constant."""
    inputs, units = shape.inputs, shape.units

    def normal(*size: int, scale: float) -> Array:
        return np.float32(scale) * rng.standard_normal(size, np.float32)

    return Weights(
        kernel=normal(inputs, 3 * units, scale=inputs**-0.5),
        recurrent_kernel=normal(units, 3 * units, scale=units**-0.5),
        bias=normal(3 * units, scale=0.3),
        recurrent_bias=normal(3 * units, scale=0.3),
    )


def blocks(weight: Array) -> list[Array]:
    """Return the update, reset and candidate blocks of a weight in the order of Keras."""
    return np.split(weight, 3, axis=-1)


def reset_first(weight: Array) -> Array:
    """Return a weight in the order reset, update, candidate of most libraries."""
    update, reset, candidate = blocks(weight)
    return np.concatenate([reset, update, candidate], axis=-1)
