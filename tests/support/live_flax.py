"""Flax's own GRUs, of linen and of nnx, with every option they have, and the files made of them.

Flax is imported on the first call; who calls skips the test before where it is not installed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import live_params

INPUTS, UNITS = 3, 4

# What a cell computes with. Flax's parameters do not say it; an nnx module does.
_FUNCTIONS = {"activation": "activation_fn", "recurrent_activation": "gate_fn"}

_HARD = {"recurrent_activation": "hard_sigmoid"}
_VARIANTS = {
    "linen cell": {},
    "linen RNN": {},
    "linen RNN, relu and hard sigmoid": _HARD | {"activation": "relu"},
    "linen RNN, reverse": {"reverse": True},
    "linen Bidirectional": {"merge": "concat"},
    "linen Bidirectional, sum": {"merge": "sum"},
    "nnx cell": {},
    "nnx RNN": {},
    "nnx RNN, softsign and hard sigmoid": _HARD | {"activation": "softsign"},
    "nnx RNN, reverse": {"reverse": True},
    "nnx Bidirectional": {"merge": "concat"},
    "nnx Bidirectional, mul": {"merge": "mul"},
}
_MERGES = {"sum": jnp.add, "mul": jnp.multiply}


class Model(NamedTuple):
    """A module, and its parameters as nested dicts."""

    variant: str
    module: Any
    params: Any


def variants():
    """Return the names of all variants."""
    return list(_VARIANTS)


def assume(variant):
    """Return what the parameters of a variant do not say and is not what is usual."""
    return {field: value for field, value in _VARIANTS[variant].items() if value not in ("concat",)}


def build(variant, key):
    """Return a ``Model`` with random parameters, biases included."""
    if variant.startswith("linen"):
        module = _linen(variant)
        carry = (jnp.zeros((1, UNITS)),) if variant == "linen cell" else ()
        xs = jnp.zeros((1, INPUTS)) if carry else jnp.zeros((1, 1, INPUTS))
        shapes = jax.eval_shape(module.init, jax.random.key(0), *carry, xs)
        return Model(variant, module, live_params.random_like(key, shapes))
    from flax import nnx

    module = _nnx(variant)
    state = nnx.state(module, nnx.Param)
    nnx.update(module, live_params.random_like(key, state))
    return Model(variant, module, nnx.to_pure_dict(nnx.state(module, nnx.Param)))


def outputs(model, xs):
    """Return what a model gives for ``xs (batch, time, inputs)``, a cell step by step."""
    variant, module, params = model
    if variant == "linen cell":
        return live_params.scan(lambda h, x: module.apply(params, h, x)[0], xs, UNITS)
    if variant == "nnx cell":
        return live_params.scan(lambda h, x: module(h, x)[0], xs, UNITS)
    return module.apply(params, xs) if variant.startswith("linen") else module(xs)


def _options(variant):
    return {
        _FUNCTIONS[field]: getattr(jax.nn, {"softsign": "soft_sign"}.get(value, value))
        for field, value in _VARIANTS[variant].items()
        if field in _FUNCTIONS
    }


def _linen(variant):
    from flax import linen as nn

    return _of_cells(nn, variant, [nn.GRUCell(UNITS, **_options(variant)) for _ in range(2)])


def _nnx(variant):
    from flax import nnx

    rngs = [nnx.Rngs(i) for i in range(2)]
    options = _options(variant)
    return _of_cells(nnx, variant, [nnx.GRUCell(INPUTS, UNITS, rngs=r, **options) for r in rngs])


def _of_cells(api, variant, cells):
    """Return the module of a variant, made of one or both of its cells."""
    options = _VARIANTS[variant]
    if variant.endswith(" cell"):
        return cells[0]
    if "merge" not in options:
        return api.RNN(cells[0], reverse=options.get("reverse", False), keep_order=True)
    merge = {"merge_fn": _MERGES[options["merge"]]} if options["merge"] in _MERGES else {}
    return api.Bidirectional(api.RNN(cells[0]), api.RNN(cells[1]), **merge)
