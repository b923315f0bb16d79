"""gru under jit and vmap, and the precision of its products.

The oracle is gru itself, called for one layer, or one row, at a time.
"""

import cases
import chex
import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest

import jaxgru

# Batched products may sum in another order: a few units of float32's 6e-8 near 1.
_FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_maps_over_nets_and_any_axis_of_the_inputs(key, axis):
    members = [nets.random_net(k, "concat") for k in jax.random.split(key, 2)]
    ensemble = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    xs = cases.random_inputs(key, (2, 5, 3))
    every_row = jax.vmap(jaxgru.gru, in_axes=(None, axis))
    every_member = jax.jit(jax.vmap(every_row, in_axes=(0, None)))
    result = every_member(ensemble, jnp.moveaxis(xs, 0, axis))
    one_by_one = jax.jit(jaxgru.gru)
    for i, member in enumerate(members):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], result)
        chex.assert_trees_all_close(own, one_by_one(member, xs), **_FLOAT32)


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


@pytest.mark.slow
def test_nothing_needs_to_be_compiled(key):
    params, xs = cases.random_params(key, 3, 4), cases.random_inputs(key, (2, 5, 3))
    derivative = jax.value_and_grad(lambda params: (jaxgru.gru(params, xs)[0] ** 2).sum())
    with jax.disable_jit():
        result = derivative(params)
    chex.assert_trees_all_close(result, derivative(params), **_FLOAT32)


def test_shapes_can_be_had_without_computing(key):
    params = jax.eval_shape(lambda key: jaxgru.init(key, 3, 4), key)
    ys, h = jax.eval_shape(jaxgru.gru, params, jax.ShapeDtypeStruct((2, 5, 3), jnp.float32))
    assert (ys.shape, h.shape) == ((2, 5, 4), (2, 4))


@pytest.mark.parametrize("reset_after", [True, False])
def test_precision_is_passed_to_every_product(key, reset_after):
    params = cases.random_params(key, 3, 40, reset_after=reset_after)

    def value(params, xs):
        options = {"precision": "highest", "implementation": "scan"}
        return jaxgru.gru(params, xs, **options)[0].sum()

    def tangent(params, xs):
        return jax.jvp(value, (params, xs), (params, xs))

    for function in (value, tangent, jax.grad(value)):
        text = jax.jit(function).lower(params, np.ones((20, 5, 3), np.float32)).as_text()
        products = [line for line in text.splitlines() if "dot_general" in line]
        assert products
        assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
