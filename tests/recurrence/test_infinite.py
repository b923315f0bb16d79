"""Infinite and NaN inputs, states and weights: what the equations give, by the float64 NumPy loop.

Each is a single number of its array. The pattern of infinities and NaN is that of the oracle.
"""

import dataclasses

import cases
import implementations
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru

# Units that a scan pads, 3 to 8, and units that it does not.
_UNITS = [3, 40]
_PLACES = ["input", "state", "kernel", "recurrent kernel", "bias", "recurrent bias"]
_NUMBERS = [np.inf, -np.inf, np.nan]
_OTHER_ACTIVATIONS = [
    *(name for name in jaxgru.ACTIVATIONS if name != "tanh"),
    jaxgru.Activation("leaky_relu", -0.25),
    jaxgru.Activation("elu", -0.5),
    jaxgru.Activation("hard_sigmoid", -0.25, 0.375),
    jaxgru.Activation("thresholded_relu", 1.0),
    jaxgru.Activation("scaled_tanh", 1.5, 0.75),
    jaxgru.Activation("affine", -0.5, 0.25),
]


def _case(key, units, place, number, rows=2, dtype=jnp.float32, **variant):
    keys = jax.random.split(key, 3)
    params = cases.random_params(keys[0], 2, units, dtype=dtype, **variant)
    xs = cases.random_inputs(keys[1], (rows, 6, 2), dtype)
    h0 = cases.random_inputs(keys[2], (rows, units), dtype)
    if place == "input":
        return params, xs.at[0, 2, 1].set(number), h0
    if place == "state":
        return params, xs, h0.at[0, 1].set(number)
    # Of the first unit, in one gate.
    field = place.replace(" ", "_")
    array = getattr(params, field)
    array = array.at[(0, 0) if array.ndim == 2 else 0].set(number)
    return dataclasses.replace(params, **{field: array}), xs, h0


def _agrees(case, implementation):
    params, xs, h0 = case
    with np.errstate(all="ignore"):
        expected, last = oracle.gru_batch(params, xs, h0)
    ys, h = jaxgru.gru(*case, implementation=implementation)
    for found, right in ((ys, expected), (h, last)):
        # Float32; unbounded activations reach a few hundred.
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("number", _NUMBERS)
@pytest.mark.parametrize("place", _PLACES)
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("units", _UNITS)
@pytest.mark.parametrize("implementation", implementations.ALL)
def test_as_the_equations(implementation, units, reset_after, place, number, key):
    _agrees(_case(key, units, place, number, reset_after=reset_after), implementation)


@pytest.mark.parametrize("number", _NUMBERS)
@pytest.mark.parametrize("role", ["activation", "recurrent_activation"])
@pytest.mark.parametrize("activation", _OTHER_ACTIVATIONS, ids=str)
def test_as_the_equations_with_each_activation(activation, role, number, key, x64):
    # In the oracle's precision: powers of e overflow.
    variant = {role: activation, "dtype": jnp.float64}
    for reset_after in (True, False):
        _agrees(_case(key, 3, "input", number, reset_after=reset_after, **variant), "scan")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("implementation", implementations.ALL)
def test_gates_reach_0_and_1(implementation, dtype, x64):
    # The candidate is 0, the new state z times a number that shows any z but 0.
    kernel = jnp.asarray([[1, 0, 0]], dtype)
    params = jaxgru.GRUParams(kernel, jnp.zeros_like(kernel))
    inputs = jnp.asarray([1000, -1000], dtype)[:, None, None]
    h0 = jnp.full(1, jnp.finfo(dtype).max)
    _, h = jaxgru.gru(params, inputs, h0, implementation=implementation)
    np.testing.assert_array_equal(h[:, 0], [h0[0], 0])


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("implementation", implementations.ALL)
def test_derivatives_by_other_arrays_are_finite(implementation, reset_after, key):
    # At an infinite input the gates do not move. The oracle is autodiff of steps without padding.
    params, xs, h0 = _case(key, 3, "input", np.inf, rows=1, reset_after=reset_after)
    xs, h0 = xs[0], h0[0]

    def run(h0, recurrent_kernel):
        weights = dataclasses.replace(params, recurrent_kernel=recurrent_kernel)
        return jaxgru.gru(weights, xs, h0, implementation=implementation)[0]

    def plain(h0, recurrent_kernel):
        weights = dataclasses.replace(params, recurrent_kernel=recurrent_kernel)
        states = []
        for x in xs:
            h0 = jaxgru.gru_cell(weights, h0, x)
            states.append(h0)
        return jnp.stack(states)

    at = (h0, params.recurrent_kernel)
    for derivative in (jax.jacrev, jax.jacfwd):
        found, expected = (derivative(f, argnums=(0, 1))(*at) for f in (run, plain))
        for one, other in zip(found, expected, strict=True):
            assert np.isfinite(other).all()
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
