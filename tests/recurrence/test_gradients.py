"""Derivatives of every variant and type: against differences of the oracle, and a plain loop.

How JAX's transformations get at them is tested in test_derivatives.py, with the usual variant.
"""

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
from second_order import assert_equal_to_second_order

import jaxgru

_RESETS = pytest.mark.parametrize("reset_after", [True, False])

# Slopes that are told from the value, from what went in, or that are constant by parts.
_WITH_OTHER_SLOPES = [
    {"activation": "softplus", "recurrent_activation": "softsign", "biases": "no bias"},
    {"activation": "silu", "recurrent_activation": "gelu", "biases": "input bias"},
    {"activation": "elu", "recurrent_activation": "hard_sigmoid", "biases": "recurrent bias"},
    {"activation": "silu", "clip": 0.5},
]


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
@pytest.mark.parametrize("variant", _WITH_OTHER_SLOPES, ids=str)
def test_second_derivative_equals_that_of_a_plain_loop(key, x64, variant, reset_after):
    case = _case(key, reset_after=reset_after, **variant)
    assert_equal_to_second_order(key, lambda case: jaxgru.gru(*case), _plain_loop_of, case)


@_RESETS
def test_float32_gradient_is_as_good_as_that_of_a_plain_loop(key, x64, reset_after):
    case = _case(key, jnp.float32, (4, 300, 8), 16, reset_after=reset_after)
    weights = _weights_of_a_loss(key, jnp.float32, (4, 300), 16)
    exact = _gradient(plain_loop, *_float64((case, weights)))
    error, plain_error = (
        jax.tree.map(_relative_error, _gradient(layer, case, weights), exact)
        for layer in (jaxgru.gru, plain_loop)
    )
    # Both errors are sums of many roundings, to either side, some 3e-7 of the gradient: seen over
    # other draws, the quotient is from 0.24 to 1.22. Beyond 2 it were no longer by chance.
    assert max(jax.tree.leaves(plain_error)) < 1e-6
    chex.assert_trees_all_equal_comparator(
        lambda a, b: a < 2 * b, lambda a, b: f"{a} against {b}", error, plain_error
    )


@_RESETS
@pytest.mark.parametrize(("half", "rounding"), [(jnp.bfloat16, 2**-8), (jnp.float16, 2**-11)])
def test_gradient_of_half_precision_is_rounded_once(key, x64, half, rounding, reset_after):
    case = _case(key, half, reset_after=reset_after)
    weights = _weights_of_a_loss(key, jnp.float32)
    exact = _gradient(plain_loop, *_float64((case, weights)))
    found = _gradient(jaxgru.gru, case, weights)
    # Everything before the rounding is in float32, in sums of about twenty terms near 1.
    chex.assert_trees_all_close(_float64(found), exact, rtol=1.01 * rounding, atol=1e-5)


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


def _plain_loop_of(case):
    return plain_loop(*case)


def _case(key, dtype=jnp.float64, shape=(2, 3, 3), units=4, **variant):
    params = cases.random_params(key, shape[-1], units, dtype=dtype, **variant)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), shape, dtype)
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (shape[0], units), dtype)
    return params, xs, h0


def _weights_of_a_loss(key, dtype=jnp.float64, steps=(2, 3), units=4):
    """Return a random weight for each number of ys and h."""
    ys = cases.random_inputs(jax.random.fold_in(key, 3), (*steps, units), dtype)
    return ys, cases.random_inputs(jax.random.fold_in(key, 4), (steps[0], units), dtype)


def _gradient(layer, case, weights):
    def loss(*case):
        return weighted_loss(layer(*case), weights)

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2)), compiler_options=cases.QUICKLY)(*case)


def _float64(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), tree)


def _relative_error(found, exact):
    return float(jnp.linalg.norm(_float64(found) - exact) / jnp.linalg.norm(exact))


def _check_against_oracle(case, weights, *, reverse=False):
    def loss(params, xs, h0):
        return weighted_loss(jaxgru.gru(params, xs, h0, reverse=reverse), weights)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)), compiler_options=cases.QUICKLY)
    found = jax.tree.leaves(gradient(*case))
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
