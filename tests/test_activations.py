"""Each activation, by name: its value, and its slope as the layer's gradient sees it."""

import re

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
def test_value_equals_formula(name, x64):
    # Everything in the formula is a few roundings of numbers up to e**6.
    expected = oracle.ACTIVATIONS[name](_POINTS)
    np.testing.assert_allclose(_candidate(name, _POINTS), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", jaxgru.ACTIVATIONS)
def test_slope_equals_differences_of_formula(name, x64):
    slope = jax.vmap(jax.grad(lambda x: _last_state(name, x)))(jnp.asarray(_POINTS))
    step = 1e-5
    f = oracle.ACTIVATIONS[name]
    # The candidate enters the state with weight 1 - z = 1/2.
    expected = (f(_POINTS + step) - f(_POINTS - step)) / (2 * step) / 2
    # Central differences: step**2 times the third derivative (up to e**6), and roundings / step.
    np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", jaxgru.ACTIVATIONS)
def test_slope_at_zero_and_far_out_is_finite(name):
    # Float32's exp overflows at 89: formulas that divide infinities show here.
    points = jnp.asarray([-80.0, 0.0, 80.0])
    assert np.isfinite(jax.vmap(jax.grad(lambda x: _last_state(name, x)))(points)).all()


@pytest.mark.parametrize("name", ["Tanh", "", None, 3, ["tanh"]])
@pytest.mark.parametrize("field", ["activation", "recurrent_activation"])
def test_unknown_name_is_refused(key, field, name):
    message = f"{field} {name!r} is unknown: expected one of {', '.join(jaxgru.ACTIVATIONS)}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.init(key, 3, 4, **{field: name})


def _unit(name, dtype):
    """One unit whose candidate is the activation of its input, and whose gates are 1/2."""
    kernel = jnp.asarray([[0.0, 0.0, 1.0]], dtype)
    return jaxgru.GRUParams(kernel, jnp.zeros_like(kernel), activation=name)


def _candidate(name, points):
    x = jnp.asarray(points)[:, None]
    return jaxgru.gru_gates(_unit(name, x.dtype), jnp.zeros_like(x), x).candidate[:, 0]


def _last_state(name, x):
    return jaxgru.gru(_unit(name, x.dtype), x[None, None])[1][0]
