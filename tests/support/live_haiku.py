"""Haiku's own GRUs, and the files made of them.

Haiku is imported on the first call; who calls skips the test before where it is not installed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import live_params

INPUTS, UNITS = 3, 4


class Model(NamedTuple):
    """A transformed function of ``xs (batch, time, inputs)``, and its parameters."""

    function: Any
    params: Any


def variants():
    """Return the names of all variants."""
    return ["layer", "stack"]


def build(variant, key):
    """Return a ``Model`` with random parameters."""
    import haiku as hk

    def layers(xs):
        core = (
            hk.DeepRNN([hk.GRU(UNITS) for _ in range(2)]) if variant == "stack" else hk.GRU(UNITS)
        )
        start = core.initial_state(xs.shape[0])
        return hk.dynamic_unroll(core, xs.swapaxes(0, 1), start)[0].swapaxes(0, 1)

    function = hk.without_apply_rng(hk.transform(layers))
    shapes = jax.eval_shape(function.init, jax.random.key(0), jnp.zeros((1, 1, INPUTS)))
    return Model(function, live_params.random_like(key, shapes))


def outputs(model, xs):
    """Return what the layers give for ``xs (batch, time, inputs)``."""
    return model.function.apply(model.params, xs)
