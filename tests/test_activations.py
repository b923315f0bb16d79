"""Each activation, by name: its value, and its slope as the layer's gradient sees it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru

# Both sides of every kink (0, +-1, 6, +-2.5, +-3) and far out, but on none: a slope there is
# a convention.
_POINTS = np.array([-20.0, -6.1, -3.1, -2.9, -2.4, -1.1, -0.9, -0.1, 0.1, 0.9, 1.1, 2.9, 5.9, 6.1])


def test_oracle_knows_every_name():
    assert set(jaxgru.ACTIVATIONS) == set(oracle.ACTIVATIONS)


@pytest.mark.parametrize("name", jaxgru.ACTIVATIONS)
def test_value_and_slope(name, x64):
    f, step = oracle.ACTIVATIONS[name], 1e-5
    # Everything in the formula is a few roundings of numbers up to e**6.
    np.testing.assert_allclose(_candidate(name, _POINTS), f(_POINTS), rtol=1e-13, atol=1e-15)
    # The candidate enters the state with weight 1 - z = 1/2.
    expected = (f(_POINTS + step) - f(_POINTS - step)) / (2 * step) / 2
    # Central differences: step**2 times the third derivative (up to e**6), and roundings / step.
    np.testing.assert_allclose(_slopes(name, _POINTS), expected, rtol=1e-9, atol=1e-9)
    # Float32's exp overflows at 89: formulas that divide infinities show here.
    assert np.isfinite(_slopes(name, np.float32([-80, 0, 80]))).all()


def _unit(name, dtype):
    """One unit whose candidate is the activation of its input, and whose gates are 1/2."""
    kernel = jnp.asarray([[0.0, 0.0, 1.0]], dtype)
    return jaxgru.GRUParams(kernel, jnp.zeros_like(kernel), activation=name)


def _candidate(name, points):
    x = jnp.asarray(points)[:, None]
    return jaxgru.gru_gates(_unit(name, x.dtype), jnp.zeros_like(x), x).candidate[:, 0]


@functools.partial(jax.jit, static_argnums=0)
def _slopes(name, points):
    def last_state(x):
        return jaxgru.gru(_unit(name, x.dtype), x[None, None])[1][0]

    return jax.vmap(jax.grad(last_state))(points)
