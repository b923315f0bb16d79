"""The inputs of every library, and the names of the features."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders.contender import Contender, Program, jax_program
from benchmarks.problem import Array, Shape, Weights, draw_weights

FEATURES = (
    "plain layer", "lengths, padding zero", "mask, states held", "resets",
    "input dropout, each step", "input dropout, one draw", "recurrent dropout", "last state alone",
    "two passes, by hand", "Bidirectional", "three calls", "3-layer stack",
)  # fmt: skip
PLAIN = FEATURES[0]
# The baseline of a feature, if that is not the plain layer.
BY_HAND = {"Bidirectional": "two passes, by hand", "3-layer stack": "three calls"}

KINDS = ("forward", "train")
RATE = 0.2  # of every dropout


class Case(NamedTuple):
    """One batch, batch-first, and the weights of all layers, in float32."""

    shape: Shape
    xs: Array
    layers: tuple[Weights, Weights, Weights]  # of the stack; the first is the plain layer
    backward: Weights  # of the backward layer
    lengths: Array  # (batch,), int32: 1 to time
    mask: Array  # (batch, time), bool: four of five steps are valid
    resets: Array  # (batch, time), bool: an episode has 50 steps, on average


class Featured(NamedTuple):
    """The programs of a library by feature and kind, and how to read their results."""

    contender: Contender
    rows: Mapping[str, Mapping[str, Program]]
    options: Mapping[str, Any]  # by kind: the chosen options in addition to the defaults


def draw_case(shape: Shape, seed: int = 0) -> Case:
    """Return a random case."""
    rng = np.random.default_rng(seed)
    steps = (shape.batch, shape.time)
    above = shape._replace(inputs=shape.units)
    return Case(
        shape,
        rng.standard_normal((*steps, shape.inputs), np.float32),
        (draw_weights(shape, rng), draw_weights(above, rng), draw_weights(above, rng)),
        draw_weights(shape, rng),
        rng.integers(1, shape.time, shape.batch, np.int32, endpoint=True),
        rng.random(steps) < 0.8,
        rng.random(steps) < 0.02,
    )


def jax_programs(
    states: Callable[..., jax.Array], weights: Any, xs: Array, *given: Any
) -> dict[str, Program]:
    """Return the programs for ``states(weights, xs, *given)`` and for its loss and gradients.

    Further inputs are also arguments of the compiled program, so that nothing that depends on them,
    such as a draw, is computed in advance.
    """

    def loss(weights: Any, xs: jax.Array, *given: Any) -> jax.Array:
        return jnp.mean(jnp.square(states(weights, xs, *given)))

    arguments = jax.tree.map(jnp.asarray, (weights, xs, *given))
    return {
        "forward": jax_program(states, *arguments),
        "train": jax_program(jax.value_and_grad(loss, argnums=(0, 1)), *arguments),
    }
