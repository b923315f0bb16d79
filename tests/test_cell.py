"""One step: its gates in every variant of the layer, leading axes, and a state that is held.

The oracle is one step of the NumPy loop.
"""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import variants
from jax.experimental import jet

import jaxgru

# float32 sums of about ten terms near 1: a few units of 6e-8.
_FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}


def test_gates_of_every_variant(key, x64):
    found = []
    for variant in variants.ALL:
        params = cases.random_params(key, 3, 4, dtype=jnp.float64, **variant)
        h = cases.random_inputs(jax.random.fold_in(key, 1), (6, 4), jnp.float64)
        x = cases.random_inputs(jax.random.fold_in(key, 2), (6, 3), jnp.float64)
        # Operation by operation: a program for each of the hundreds would be compiled, run once.
        with jax.disable_jit():
            found.append(np.stack(jaxgru.gru_gates(params, h, x)))
        rows = [list(oracle.cell(params, *row).values()) for row in zip(h, x, strict=True)]
        # Double precision: sums of about ten terms, and a gate such as the exponential amplifies
        # an error. A hundred draws of every variant stayed ten times below this.
        np.testing.assert_allclose(
            found[-1], np.swapaxes(rows, 0, 1), rtol=1e-12, atol=1e-13, err_msg=str(variant)
        )
    # Else one variant could pass for another above, as with rows whose candidate is clipped.
    flat = np.stack(found).reshape(len(found), -1)
    differences = np.abs(flat[:, None] - flat[None]).max(axis=-1)
    np.fill_diagonal(differences, np.inf)
    assert differences.min() > 1e-3


@pytest.mark.parametrize(
    ("h_axes", "x_axes", "axes", "reset_after"),
    [
        ((), (), (), True),
        ((2,), (2,), (2,), False),
        ((3, 2), (), (3, 2), False),
        ((3, 1), (1, 2), (3, 2), True),
        ((0,), (0,), (0,), True),
    ],
)
def test_leading_axes_broadcast(key, reset_after, h_axes, x_axes, axes):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    h = cases.random_inputs(jax.random.fold_in(key, 1), (*h_axes, 4))
    x = cases.random_inputs(jax.random.fold_in(key, 2), (*x_axes, 3))

    gates = jaxgru.gru_gates(params, h, x)

    np.testing.assert_array_equal(jaxgru.gru_cell(params, h, x), gates.h)
    assert gates.h.shape == (*axes, 4)
    every_h, every_x = np.broadcast_to(h, (*axes, 4)), np.broadcast_to(x, (*axes, 3))
    for index in np.ndindex(axes):
        expected = oracle.cell(params, every_h[index], every_x[index])
        for found, other in zip(gates, expected.values(), strict=True):
            np.testing.assert_allclose(np.broadcast_to(found, (*axes, 4))[index], other, **_FLOAT32)


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_closed_update_gate_holds_the_state_to_the_bit(key, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    bias = params.bias.at[:4].set(100.0)
    h, x = cases.random_inputs(key, (2, 4)), cases.random_inputs(key, (2, 3))
    np.testing.assert_array_equal(jaxgru.gru_cell(dataclasses.replace(params, bias=bias), h, x), h)


@pytest.mark.parametrize("reset_state", [None, 0.5, "a state"])
def test_an_episode_begins_at_the_state_after_a_reset(key, reset_state):
    params = cases.random_params(key, 3, 4)
    h = cases.random_inputs(jax.random.fold_in(key, 1), (2, 4))
    x = cases.random_inputs(jax.random.fold_in(key, 2), (2, 3))
    if reset_state == "a state":
        reset_state = cases.random_inputs(jax.random.fold_in(key, 3), (4,))
    start = np.broadcast_to(0.0 if reset_state is None else reset_state, 4)
    found = jaxgru.gru_cell(params, h, x, resets=np.array([False, True]), reset_state=reset_state)
    expected = [oracle.cell(params, *row)["h"] for row in ((h[0], x[0]), (start, x[1]))]
    np.testing.assert_allclose(found, expected, **_FLOAT32)


@pytest.mark.parametrize("reset_after", [True, False])
def test_taylor_series(key, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    h, x, dx = (
        cases.random_inputs(jax.random.fold_in(key, i), (n,)) for i, n in enumerate((4, 3, 3))
    )

    def run(x):
        return jaxgru.gru_cell(params, h, x)

    def moved(x):
        return jax.jvp(run, (x,), (dx,))[1]

    _, found = jet.jet(run, (x,), ((dx, jnp.zeros_like(dx)),))
    expected = moved(x), jax.jvp(moved, (x,), (dx,))[1]
    np.testing.assert_allclose(found, expected, **_FLOAT32)
