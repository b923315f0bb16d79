"""Values and gradients at every kind of size, as the loop is laid out by the size."""

import cases
import chex
import jax
import jax.numpy as jnp
import pytest
from plain_loop import plain_loop, weighted_loss

import jaxgru

# Rows, time, inputs, units: within one vector of eight and beyond it, and so many inputs or units
# that other things are kept for the backward pass.
_SHORT = [
    (1, 1, 1, 1),
    (1, 7, 2, 6),
    (8, 4, 8, 8),
    (8, 5, 9, 8),
    (9, 5, 2, 8),
    (1, 6, 2, 9),
    (3, 2, 2, 33),
    (40, 3, 2, 20),
    (2, 3, 390, 4),
    (2, 2, 3, 390),
]
_IN_CHUNKS = (256, 70, 2, 32)  # so many numbers that time is cut in chunks, and a rest
_UNROLLED = (1, 515, 2, 6)  # so long that several steps are compiled as one, and a rest
_RESETS = pytest.mark.parametrize("reset_after", [True, False])


@_RESETS
@pytest.mark.parametrize("size", _SHORT)
def test_equals_a_plain_loop(key, x64, size, reset_after):
    _check(key, size, reset_after=reset_after)


@_RESETS
@pytest.mark.parametrize("reverse", [True, False])
def test_equals_a_plain_loop_in_chunks_of_time(key, x64, reset_after, reverse):
    _check(key, _IN_CHUNKS, reset_after=reset_after, reverse=reverse)


def test_equals_a_plain_loop_over_many_steps(key, x64):
    _check(key, _UNROLLED, reset_after=True)


def _check(key, size, *, reset_after, reverse=False):
    rows, time, inputs, units = size
    keys = jax.random.split(key, 5)
    shapes = [(rows, time, inputs), (rows, units), (rows, time, units), (rows, units)]
    xs, h0, *weights = (
        cases.random_inputs(k, shape, jnp.float64) for k, shape in zip(keys, shapes, strict=False)
    )
    params = cases.random_params(keys[4], inputs, units, reset_after=reset_after, dtype=jnp.float64)
    # Many inputs or units would saturate every gate.
    params = jax.tree.map(lambda leaf: 4 * leaf / (inputs + units) ** 0.5, params)

    def outputs_and_gradient(layer):
        def loss(params, xs, h0):
            outputs = layer(params, xs, h0, reverse=reverse)
            return weighted_loss(outputs, weights), outputs

        derivative = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
        (_, outputs), gradient = jax.jit(derivative, compiler_options=cases.QUICKLY)(params, xs, h0)
        return outputs, gradient

    # Double precision, sums over up to 18000 steps and rows in another order.
    chex.assert_trees_all_close(
        outputs_and_gradient(jaxgru.gru), outputs_and_gradient(plain_loop), rtol=1e-9, atol=1e-9
    )
