"""Conversions within jit and grad: traced arrays are converted like others, unseen.

Oracles: the same conversion outside bit-for-bit; central differences along a direction.
"""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

_WAYS = {
    "haiku": (jaxgru.from_haiku, jaxgru.to_haiku),
    "linen": (lambda p: jaxgru.from_flax(p, assume=_ASSUME), jaxgru.to_flax),
    "nnx": (
        lambda p: jaxgru.from_flax(p, assume=_ASSUME),
        lambda net: jaxgru.to_flax(net, api="nnx"),
    ),
    "equinox": (jaxgru.from_equinox, jaxgru.to_equinox),
}
_ASSUME = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}


@pytest.mark.parametrize("library", _WAYS)
def test_the_same_within_jit_and_grad(key, x64, library):
    pytest.importorskip({"linen": "flax", "nnx": "flax"}.get(library, library))
    from_library, to_library = _WAYS[library]
    net = _net(key, library)
    held = to_library(net)
    _assert_equal(jax.jit(to_library)(net), held)
    _assert_equal(jax.jit(from_library)(held), from_library(held))

    xs = cases.random_inputs(key, (2, 4, 3), jnp.float64)

    def loss(held):
        return jnp.sum(jaxgru.gru(from_library(held), xs)[0] ** 2)

    slope = jax.grad(loss)(held)
    direction = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), held)
    step = 1e-6
    ahead, behind = (
        loss(jax.tree.map(lambda leaf, d: leaf + sign * step * d, held, direction))  # noqa: B023
        for sign in (1, -1)
    )
    expected = (ahead - behind) / (2 * step)
    found = sum(
        jnp.vdot(*pair) for pair in zip(*map(jax.tree.leaves, (slope, direction)), strict=True)
    )
    # Central differences in float64: about 1e-16 / 1e-6 of rounding, and the step's square.
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_two_biases_are_added_unseen(key):
    net = cases.random_params(key, 3, 4, reset_after=False)

    def total(net):
        return sum(map(jnp.sum, jax.tree.leaves(jaxgru.to_haiku(net))))

    slope = jax.grad(total)(net)
    np.testing.assert_array_equal(slope.bias, slope.recurrent_bias)
    np.testing.assert_array_equal(slope.bias, np.repeat([-1.0, 1.0, 1.0], 4))


def test_a_bias_that_nnx_has_not_is_refused_unseen(key):
    net = cases.random_params(key, 3, 4)
    with pytest.raises(jaxgru.WeightsError, match="recurrent bias of the candidate is traced"):
        jax.jit(lambda net: jaxgru.to_flax(net, api="nnx"))(net)


def _net(key, library):
    """Return a net of float64 that the library holds."""
    net = cases.random_params(key, 3, 4, dtype=jnp.float64, reset_after=library != "haiku")
    if library in ("haiku", "nnx"):
        return dataclasses.replace(net, recurrent_bias=None)
    return dataclasses.replace(net, recurrent_bias=net.recurrent_bias.at[:8].set(0))


def _assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
