"""Derivatives, in every mode, against differences of the oracle and autodiff of a plain loop."""

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import variants
from jax.test_util import check_grads
from plain_loop import plain_loop, weighted_loss

import jaxgru

_RESETS = pytest.mark.parametrize("reset_after", [True, False])


@pytest.mark.parametrize("variant", variants.SOME, ids=variants.name)
def test_gradient_equals_differences_of_oracle(key, x64, variant):
    _check_against_oracle(_case(key, **variant), _weights_of_a_loss(key))


@_RESETS
def test_gradient_of_a_reversed_pass_equals_differences_of_oracle(key, x64, reset_after):
    _check_against_oracle(
        _case(key, reset_after=reset_after), _weights_of_a_loss(key), reverse=True
    )


@_RESETS
def test_both_modes_to_second_order(key, x64, reset_after):
    # Central differences of a step of 1e-4 in double precision: errors of 1e-8 times a third
    # derivative, and JAX compares directional derivatives over some hundred numbers.
    case = _case(key, reset_after=reset_after)
    check_grads(jax.jit(jaxgru.gru), case, order=2, atol=1e-5, rtol=1e-5)


@_RESETS
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev, jax.hessian])
def test_derivatives_equal_those_of_a_plain_loop(key, x64, mode, reset_after, reverse):
    found, expected = _derivatives(
        mode, _case(key, reset_after=reset_after), _weights_of_a_loss(key), reverse
    )
    # The same sums in another order, in double precision, through a second derivative at most.
    chex.assert_trees_all_close(found, expected, rtol=1e-10, atol=1e-11)


@_RESETS
def test_float32_gradient_is_as_good_as_that_of_a_plain_loop(key, reset_after):
    case = _case(key, jnp.float32, reset_after=reset_after)
    found, expected = _derivatives(jax.grad, case, _weights_of_a_loss(key, jnp.float32), False)
    # Sums of about twenty terms near 1, in float32.
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-5)


def test_gradients_map_over_stacked_layers(key, x64):
    layers = [_case(k)[0] for k in jax.random.split(key, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    _, xs, h0 = _case(key)
    weights = _weights_of_a_loss(key)
    gradient = jax.jit(jax.grad(lambda params: weighted_loss(jaxgru.gru(params, xs, h0), weights)))
    mapped = jax.vmap(gradient)(stacked)
    for i, layer in enumerate(layers):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], mapped)
        # Batched products may sum in another order.
        chex.assert_trees_all_close(one, gradient(layer), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 3, 3)])
def test_without_steps_or_rows_the_weights_have_no_gradient(key, shape):
    params = cases.random_params(key, 3, 4)
    xs, h0 = jnp.zeros(shape), jnp.ones((shape[0], 4))
    of_params, of_xs, of_h0 = jax.grad(
        lambda *args: sum(part.sum() for part in jaxgru.gru(*args)), argnums=(0, 1, 2)
    )(params, xs, h0)
    chex.assert_trees_all_equal(of_params, jax.tree.map(jnp.zeros_like, params))
    assert of_xs.shape == shape
    np.testing.assert_array_equal(of_h0, h0)  # h is h0, and there are no rows otherwise


def _case(key, dtype=jnp.float64, **variant):
    params = cases.random_params(key, 3, 4, dtype=dtype, **variant)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (2, 3, 3), dtype)
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (2, 4), dtype)
    return params, xs, h0


def _weights_of_a_loss(key, dtype=jnp.float64):
    """Return a random weight for each number of ys and h."""
    ys = cases.random_inputs(jax.random.fold_in(key, 3), (2, 3, 4), dtype)
    return ys, cases.random_inputs(jax.random.fold_in(key, 4), (2, 4), dtype)


def _derivatives(mode, case, weights, reverse):
    """Return the derivatives of a loss on gru's outputs, and on a plain loop's."""

    def of(layer):
        def loss(*args):
            return weighted_loss(layer(*args, reverse=reverse), weights)

        return jax.jit(mode(loss, argnums=(0, 1, 2)))(*case)

    return of(jaxgru.gru), of(plain_loop)


def _check_against_oracle(case, weights, *, reverse=False):
    def loss(params, xs, h0):
        return weighted_loss(jaxgru.gru(params, xs, h0, reverse=reverse), weights)

    found = jax.tree.leaves(jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*case))
    leaves, structure = jax.tree.flatten(jax.tree.map(np.array, case))
    weights = [np.asarray(weight) for weight in weights]

    def oracle_loss():
        return weighted_loss(
            oracle.gru_batch(*jax.tree.unflatten(structure, leaves), reverse=reverse), weights
        )

    step = 1e-6
    for leaf, gradient in zip(leaves, found, strict=True):
        expected = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            value = leaf[index]
            leaf[index] = value + step
            above = oracle_loss()
            leaf[index] = value - step
            expected[index] = (above - oracle_loss()) / (2 * step)
            leaf[index] = value
        # step**2 times a third derivative, and roundings of 1e-16 of the loss over the step:
        # both grow with the loss where an activation is unbounded.
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)
