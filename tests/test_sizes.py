"""Values and gradients at every kind of size, as the loop is laid out by the size."""

import cases
import chex
import jax
import jax.numpy as jnp
import pytest
from plain_loop import plain_loop, weighted_loss

import jaxgru

_SMALL = [
    # rows, time, units: within one vector and beyond it; times that unrolling leaves a rest of.
    (1, 1, 1),
    (1, 7, 6),
    (8, 4, 8),
    (9, 5, 8),
    (1, 6, 9),
    (3, 2, 33),
    (40, 3, 20),
]
_IN_CHUNKS = (256, 70, 32)  # so large that time is cut in chunks, and a rest
_RESETS = pytest.mark.parametrize("reset_after", [True, False])


@_RESETS
@pytest.mark.parametrize(("rows", "time", "units"), _SMALL)
def test_equals_a_plain_loop(key, x64, rows, time, units, reset_after):
    _check(key, rows, time, units, reset_after=reset_after)


@_RESETS
@pytest.mark.parametrize("reverse", [True, False])
def test_equals_a_plain_loop_in_chunks_of_time(key, x64, reset_after, reverse):
    _check(key, *_IN_CHUNKS, reset_after=reset_after, reverse=reverse)


def _check(key, rows, time, units, *, reset_after, reverse=False):
    keys = jax.random.split(key, 5)
    shapes = [(rows, time, 2), (rows, units), (rows, time, units), (rows, units)]
    xs, h0, *weights = (
        cases.random_inputs(k, shape, jnp.float64) for k, shape in zip(keys, shapes, strict=False)
    )
    params = cases.random_params(keys[4], 2, units, reset_after=reset_after, dtype=jnp.float64)

    def outputs_and_gradient(layer):
        def loss(params, xs, h0):
            outputs = layer(params, xs, h0, reverse=reverse)
            return weighted_loss(outputs, weights), outputs

        (_, outputs), gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(
            params, xs, h0
        )
        return outputs, gradient

    # Double precision, sums over up to 18000 steps and rows in another order.
    chex.assert_trees_all_close(
        outputs_and_gradient(jaxgru.gru), outputs_and_gradient(plain_loop), rtol=1e-9, atol=1e-10
    )
