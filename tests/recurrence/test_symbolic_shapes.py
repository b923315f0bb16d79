"""``jax.export`` with symbolic batch and time: the oracle is ``jax.jit`` at the same shapes.

Loops of other lengths sum in another order and fuse otherwise: float32 sums of some hundred terms
near 1.
"""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxgru

_TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def _nets(key):
    keys = jax.random.split(key, 3)
    after = cases.random_params(keys[0], 3, 5)
    before = cases.random_params(keys[1], 3, 5, reset_after=False)
    return {
        "layer": after,
        "reset before": before,
        "backward": jaxgru.Backward(after),
        "stack": (jaxgru.Bidirectional(after, before), cases.random_params(keys[2], 10, 16)),
    }


# net, symbolic axes, arrays given, other options.
_CASES = {
    "batch alone": ("reset before", "b", ("mask",), {"remat": "states", "time_major": True}),
    "time alone": ("layer", "t", ("resets",), {"return_sequences": False}),
    "segments": ("reset before", "b, t", ("mask", "resets"), {"remat": 3, "reverse": True}),
    "segments without a mask": ("backward", "b, t", (), {"remat": 3}),
    "stack": (
        "stack",
        "b, t",
        ("lengths", "resets", "key"),
        {"zero_masked": True, "dropout": 0.3, "recurrent_dropout": 0.2},
    ),
    "dropout of inputs": (
        "stack",
        "b, t",
        ("key",),
        {"dropout": jaxgru.Dropout(0.3, on="inputs", shared=True), "remat": 2},
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "batch alone")) for name in _CASES],
)
def test_outputs_and_gradients(key, name):
    which, symbols, given, options = _CASES[name]
    net = _nets(key)[which]

    def function(net, arrays):
        def loss(net, xs):
            rest = {name: arrays[name] for name in given}
            ys, h = jaxgru.gru(net, xs, **rest, **options)
            return sum((leaf**2).sum() for leaf in jax.tree.leaves((ys, h))), (ys, h)

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(net, arrays["xs"])

    sizes = dict(zip(symbols.split(", "), export.symbolic_shape(symbols), strict=True))
    shapes = _arrays(key, sizes.get("b", 4), sizes.get("t", 7), options, jax.ShapeDtypeStruct)
    exported = export.export(jax.jit(function))(net, shapes)
    back = export.deserialize(exported.serialize(vjp_order=0))
    for time in (7, 6) if "t" in sizes else (7,):
        arrays = _arrays(key, 4, time, options, None)
        found, expected = back.call(net, arrays), jax.jit(function)(net, arrays)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, **_TOLERANCE), found, expected
        )


def _arrays(key, batch, time, options, make):
    steps = (time, batch) if options.get("time_major") else (batch, time)
    kinds = {
        "xs": ((*steps, 3), jnp.float32),
        "lengths": ((batch,), jnp.int32),
        "mask": (steps, jnp.bool_),
        "resets": (steps, jnp.bool_),
        "key": ((), jax.random.key(0).dtype),
    }
    if make is not None:
        return {name: make(*kind) for name, kind in kinds.items()}
    keys = jax.random.split(key, 4)
    return {
        "xs": jax.random.normal(keys[0], kinds["xs"][0]),
        "lengths": jax.random.randint(keys[1], (batch,), 0, time + 1, jnp.int32),
        "mask": jax.random.bernoulli(keys[2], 0.7, steps),
        "resets": jax.random.bernoulli(keys[3], 0.3, steps),
        "key": jax.random.key(7),
    }


def test_a_step_and_its_gradient(key):
    params = cases.random_params(key, 3, 5)

    def function(params, h, x):
        return jax.value_and_grad(lambda p: (jaxgru.gru_cell(p, h, x) ** 2).sum())(params)

    (batch,) = export.symbolic_shape("b")
    shapes = (jax.ShapeDtypeStruct((batch, size), jnp.float32) for size in (5, 3))
    exported = export.export(jax.jit(function))(params, *shapes)
    h, x = (jax.random.normal(key, (6, size)) for size in (5, 3))
    found, expected = exported.call(params, h, x), jax.jit(function)(params, h, x)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, **_TOLERANCE), found, expected
    )
