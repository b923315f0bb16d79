"""Equinox's own GRU cell, with every option it has.

Equinox is imported on the first call; who calls skips the test before where it is not installed.
"""

import jax
import live_params

INPUTS, UNITS = 3, 4

_VARIANTS = {"cell": {}, "cell, no bias": {"use_bias": False}}


def variants():
    """Return the names of all variants."""
    return list(_VARIANTS)


def build(variant, key):
    """Return a cell with random weights, biases included."""
    import equinox as eqx

    cell = eqx.nn.GRUCell(INPUTS, UNITS, key=key, **_VARIANTS[variant])
    arrays, static = eqx.partition(cell, eqx.is_array)
    return eqx.combine(live_params.random_like(key, arrays), static)


def outputs(cell, xs):
    """Return the states of a cell over ``xs (batch, time, inputs)``."""
    return live_params.scan(lambda h, x: jax.vmap(cell)(x, h), xs, UNITS)


def arrays(cell, place=""):
    """Return the arrays of a cell by their names, as JAX writes them after a place."""
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    held = {name: getattr(cell, name) for name in names}
    return {f"{place}{name}": array for name, array in held.items() if array is not None}
