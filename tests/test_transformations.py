"""gru under jit and vmap, and the precision of its products.

The oracle is gru itself, called for one layer, or one row, at a time.
"""

import cases
import chex
import jax
import jax.numpy as jnp
import pytest

import jaxgru

# Batched products may sum in another order: a few units of float32's 6e-8 near 1.
_FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}


@pytest.mark.parametrize("reset_after", [True, False])
def test_maps_over_stacked_layers(key, reset_after):
    layers = [
        cases.random_params(k, 3, 4, reset_after=reset_after) for k in jax.random.split(key, 3)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    xs = cases.random_inputs(key, (2, 5, 3))
    ys, h = jax.vmap(jaxgru.gru, in_axes=(0, None))(stacked, xs)
    for i, layer in enumerate(layers):
        chex.assert_trees_all_close((ys[i], h[i]), jaxgru.gru(layer, xs), **_FLOAT32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_maps_over_any_axis_of_the_inputs(key, axis):
    params = cases.random_params(key, 3, 4)
    xs = cases.random_inputs(key, (2, 5, 3))
    expected = jaxgru.gru(params, xs)
    result = jax.vmap(lambda xs: jaxgru.gru(params, xs), in_axes=axis)(jnp.moveaxis(xs, 0, axis))
    chex.assert_trees_all_close(result, expected, **_FLOAT32)


def test_jit_takes_params_as_an_argument_and_compiles_once_for_a_variant(key):
    traces = []

    @jax.jit
    def last_state(params, xs):
        traces.append(params)
        return jaxgru.gru(params, xs)[1]

    xs = cases.random_inputs(key, (2, 5, 3))
    for k in jax.random.split(key, 3):
        last_state(cases.random_params(k, 3, 4), xs)
    assert len(traces) == 1
    last_state(cases.random_params(key, 3, 4, activation="relu"), xs)
    assert len(traces) == 2


def test_shapes_can_be_had_without_computing(key):
    params = jax.eval_shape(lambda key: jaxgru.init(key, 3, 4), key)
    ys, h = jax.eval_shape(jaxgru.gru, params, jax.ShapeDtypeStruct((2, 5, 3), jnp.float32))
    assert (ys.shape, h.shape) == ((2, 5, 4), (2, 4))


@pytest.mark.parametrize("reset_after", [True, False])
def test_precision_is_passed_to_every_product(key, reset_after):
    params = cases.random_params(key, 3, 40, reset_after=reset_after)

    def value(params, xs):
        return jaxgru.gru(params, xs, precision="highest")[0].sum()

    def tangent(params, xs):
        return jax.jvp(value, (params, xs), (params, xs))

    for function in (value, tangent, jax.grad(value)):
        text = jax.jit(function).lower(params, jnp.ones((20, 5, 3))).as_text()
        products = [line for line in text.splitlines() if "dot_general" in line]
        assert products
        assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
