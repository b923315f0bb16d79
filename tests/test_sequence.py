"""A whole sequence: batch axes, layout, direction, initial state, and the smallest sizes."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru

# float32 sums of about ten terms near 1, a few steps deep: a few units of 6e-8 each.
_FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}

_AXES = [(), (1,), (2,), (2, 3), (1, 2, 2), (0,), (2, 0)]
_RESETS = pytest.mark.parametrize("reset_after", [True, False])


def _check(params, xs, h0=None, *, reverse=False):
    ys, h = jaxgru.gru(params, xs, h0, reverse=reverse)
    expected_ys, expected_h = oracle.gru_batch(params, xs, h0, reverse=reverse)
    assert ys.shape == expected_ys.shape
    assert h.shape == expected_h.shape
    assert ys.dtype == h.dtype == jnp.float32
    np.testing.assert_allclose(ys, expected_ys, **_FLOAT32)
    np.testing.assert_allclose(h, expected_h, **_FLOAT32)


@_RESETS
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("axes", _AXES)
def test_any_batch_axes(key, axes, reverse, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (*axes, 5, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (*axes, 4))
    _check(params, xs, h0, reverse=reverse)


@pytest.mark.parametrize("axes", _AXES)
def test_time_major_is_the_same_transposed(key, axes):
    params = cases.random_params(key, 3, 4)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (*axes, 5, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (*axes, 4))
    expected_ys, expected_h = jaxgru.gru(params, xs, h0)
    ys, h = jaxgru.gru(params, jnp.moveaxis(xs, -2, 0), h0, time_major=True)
    assert ys.shape == (5, *axes, 4)
    np.testing.assert_array_equal(jnp.moveaxis(ys, 0, -2), expected_ys)
    np.testing.assert_array_equal(h, expected_h)


def test_without_h0_the_state_starts_at_zero(key):
    params = cases.random_params(key, 3, 4)
    _check(params, cases.random_inputs(key, (2, 5, 3)))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 4), (2, 1, 4), (2, 3, 4)])
def test_h0_broadcasts_over_the_batch(key, shape):
    params = cases.random_params(key, 3, 4)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (2, 3, 5, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), shape)
    _check(params, xs, h0)


@_RESETS
def test_reverse_is_the_flipped_sequence(key, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    xs = cases.random_inputs(key, (2, 5, 3))
    ys, h = jaxgru.gru(params, xs, reverse=True)
    flipped, last = jaxgru.gru(params, xs[:, ::-1])
    np.testing.assert_array_equal(ys, flipped[:, ::-1])
    np.testing.assert_array_equal(h, last)


@_RESETS
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("time", [0, 1])
def test_shortest_sequences(key, time, reverse, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (2, time, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (2, 4))
    _check(params, xs, h0, reverse=reverse)
    if time == 0:
        np.testing.assert_array_equal(jaxgru.gru(params, xs, h0, reverse=reverse)[1], h0)


@_RESETS
@pytest.mark.parametrize(("inputs", "units"), [(1, 1), (1, 4), (3, 1)])
def test_one_input_or_one_unit(key, inputs, units, reset_after):
    params = cases.random_params(key, inputs, units, reset_after=reset_after)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (2, 5, inputs))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (2, units))
    _check(params, xs, h0)


@_RESETS
@pytest.mark.parametrize("reverse", [True, False])
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
