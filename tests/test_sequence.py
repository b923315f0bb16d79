"""A whole sequence: batch axes, initial states, chunks, and what is left as it was.

The oracle of the values is the float64 NumPy loop; test_matrix.py compares every option with it.
"""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru

# float32 sums of about ten terms near 1, a few steps deep: a few units of 6e-8 each.
_FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}


@pytest.mark.parametrize(
    ("axes", "state_axes"),
    [((), ()), ((0,), (0,)), ((2, 0), (2, 0)), ((1, 2, 2), (2,)), ((2, 3), (2, 1)), ((2, 3), ())],
)
def test_any_batch_axes_and_a_state_that_broadcasts(key, axes, state_axes):
    params = cases.random_params(key, 3, 4, reset_after=len(axes) % 2 == 0)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (*axes, 5, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (*state_axes, 4))
    ys, h = jaxgru.gru(params, xs, h0)
    expected_ys, expected_h = oracle.gru_batch(params, xs, h0)
    assert (ys.shape, h.shape) == (expected_ys.shape, expected_h.shape)
    np.testing.assert_allclose(ys, expected_ys, **_FLOAT32)
    np.testing.assert_allclose(h, expected_h, **_FLOAT32)
    time_major, same = jaxgru.gru(params, jnp.moveaxis(xs, -2, 0), h0, time_major=True)
    np.testing.assert_array_equal(jnp.moveaxis(time_major, 0, -2), ys)
    np.testing.assert_array_equal(same, h)


@pytest.mark.parametrize(("reverse", "reset_after"), [(False, True), (True, False)])
def test_chunks_equal_the_whole(key, reverse, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    xs = cases.random_inputs(key, (2, 12, 3))
    whole, last = jaxgru.gru(params, xs, reverse=reverse)
    chunks = [xs[:, :5], xs[:, 5:5], xs[:, 5:6], xs[:, 6:]]
    order = range(len(chunks))
    pieces, h = {}, None
    for i in reversed(order) if reverse else order:
        pieces[i], h = jaxgru.gru(params, chunks[i], h, reverse=reverse)
    # Not to the bit: XLA compiles each length by itself, and may contract a product and a sum into
    # one rounding in one and not in the other. States lie within +-1: a few float32 roundings.
    joined = jnp.concatenate([pieces[i] for i in order], axis=1)
    np.testing.assert_allclose(joined, whole, rtol=0, atol=5e-7)
    np.testing.assert_allclose(h, last, rtol=0, atol=5e-7)


def test_arguments_are_left_as_they_were(key):
    params = jax.tree.map(np.array, cases.random_params(key, 3, 4))
    xs = np.array(cases.random_inputs(key, (2, 5, 3)))
    arrays = [*jax.tree.leaves(params), xs]
    copies = [array.copy() for array in arrays]
    jax.block_until_ready(jaxgru.gru(params, xs))
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
