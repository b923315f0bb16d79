"""The two tasks: the data, the layer, the optimizer, and the target loss."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

import jaxgru
from benchmarks.learning.copying import SHOWN, SYMBOLS, draw_copies
from benchmarks.learning.digits import CLASSES, draw_digits
from benchmarks.problem import Array, Shape, Weights

BLOCK = 25  # training steps in a turn


class Task(NamedTuple):
    """A task: classify each answer by the last states."""

    name: str
    # Of a generator and a count: sequences (count, T, I), and answers (count,) or (count, A).
    draw: Callable[[np.random.Generator, int], tuple[Array, Array]]
    classes: int
    answers: int  # the number of last steps with answers
    units: int
    batch: int
    rate: float  # of Adam, with gradients clipped to a norm of 1
    steps: int
    target: float  # mean cross-entropy of a block of steps, in nats

    def shape(self) -> Shape:
        """Return the sizes of the layer and its input."""
        xs, _ = self.draw(np.random.default_rng(0), 1)
        return Shape(self.batch, *xs.shape[1:], self.units)


# The losses begin near log(classes), 2.3 and 2.1 nats, and continue to fall after the targets.
TASKS = (
    Task("digits, pixel by pixel", draw_digits, CLASSES, 1, 64, 64, 0.005, 800, 0.2),
    Task("copy memory", draw_copies, SYMBOLS, SHOWN, 64, 64, 0.005, 1200, 0.1),
)


def draw_batches(task: Task, seed: int) -> list[tuple[Array, Array]]:
    """Return the batches of a run, all different, so that the loss is that of unseen data."""
    generator = np.random.default_rng(seed)
    return [task.draw(generator, task.batch) for _ in range(task.steps)]


def first_weights(task: Task, seed: int) -> tuple[Weights, Array]:
    """Return the weights of a layer by Keras' initializers, and a readout ``(units, classes)``.

    The biases are zero, so that a library without a recurrent bias starts with the same function.
    """
    key_gru, key_readout = jax.random.split(jax.random.key(seed))
    shape = task.shape()
    params = jaxgru.init(key_gru, shape.inputs, shape.units)
    weights = Weights(
        *(
            np.asarray(leaf)
            for leaf in (
                params.kernel,
                params.recurrent_kernel,
                params.bias,
                params.recurrent_bias,
            )
        )
    )
    readout = 0.1 * jax.random.normal(key_readout, (shape.units, task.classes))
    return weights, np.asarray(readout)
