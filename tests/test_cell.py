"""One step: leading axes, and what the gates mean. The oracle is one step of the NumPy loop."""

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru

# float32 sums of about ten terms near 1: a few units of 6e-8.
_FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(
    ("h_axes", "x_axes", "axes"),
    [
        ((), (), ()),
        ((2,), (2,), (2,)),
        ((), (2,), (2,)),
        ((3, 2), (), (3, 2)),
        ((3, 1), (1, 2), (3, 2)),
        ((0,), (0,), (0,)),
    ],
)
def test_leading_axes_broadcast(key, reset_after, h_axes, x_axes, axes):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    h = cases.random_inputs(jax.random.fold_in(key, 1), (*h_axes, 4))
    x = cases.random_inputs(jax.random.fold_in(key, 2), (*x_axes, 3))

    result = jaxgru.gru_cell(params, h, x)

    assert result.shape == (*axes, 4)
    every_h, every_x = np.broadcast_to(h, (*axes, 4)), np.broadcast_to(x, (*axes, 3))
    for index in np.ndindex(axes):
        expected = oracle.cell(params, every_h[index], every_x[index])["h"]
        np.testing.assert_allclose(result[index], expected, **_FLOAT32)


@pytest.mark.parametrize("reset_after", [True, False])
def test_cell_is_the_state_of_the_gates(key, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    h, x = cases.random_inputs(key, (2, 4)), cases.random_inputs(key, (2, 3))
    gates = jaxgru.gru_gates(params, h, x)
    np.testing.assert_array_equal(jaxgru.gru_cell(params, h, x), gates.h)
    mixed = gates.update * h + (1 - gates.update) * gates.candidate
    # A compiled product and sum may be one rounding, here they are two: of numbers within +-1.
    np.testing.assert_allclose(gates.h, mixed, rtol=0, atol=2.0**-23)


def test_a_closed_update_gate_holds_the_state_to_the_bit(key):
    params = cases.random_params(key, 3, 4)
    closed = jnp.concatenate([jnp.full(4, 100.0), params.bias[4:]])
    h, x = cases.random_inputs(key, (2, 4)), cases.random_inputs(key, (2, 3))
    held = jaxgru.gru_cell(jaxgru.GRUParams(*jax.tree.leaves(params)[:2], closed), h, x)
    np.testing.assert_array_equal(held, h)


@pytest.mark.parametrize("reset_after", [True, False])
def test_steps_of_the_cell_are_the_sequence(key, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    xs = cases.random_inputs(key, (2, 6, 3))
    ys, last = jaxgru.gru(params, xs)
    h = jnp.zeros((2, 4))
    for t in range(6):
        h = jaxgru.gru_cell(params, h, xs[:, t])
        np.testing.assert_allclose(ys[:, t], h, **_FLOAT32)
    np.testing.assert_allclose(last, h, **_FLOAT32)


def test_cell_maps_over_stacked_layers(key):
    layers = [cases.random_params(k, 3, 4) for k in jax.random.split(key, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    h, x = cases.random_inputs(key, (4,)), cases.random_inputs(key, (3,))
    results = jax.vmap(jaxgru.gru_cell, in_axes=(0, None, None))(stacked, h, x)
    for result, layer in zip(results, layers, strict=True):
        np.testing.assert_allclose(result, jaxgru.gru_cell(layer, h, x), **_FLOAT32)


def test_jit_changes_nothing(key):
    params = cases.random_params(key, 3, 4)
    h, x = cases.random_inputs(key, (2, 4)), cases.random_inputs(key, (2, 3))
    plain = jaxgru.gru_gates(params, h, x)
    chex.assert_trees_all_close(jax.jit(jaxgru.gru_gates)(params, h, x), plain, **_FLOAT32)
