"""A whole sequence: batch axes, initial states, chunks, and what holds for every layer.

The oracle of the values is the float64 NumPy loop; test_matrix.py compares every option with it.
"""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru

# float32 sums of about ten terms near 1, a few steps deep: a few units of 6e-8 each.
_FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}

_PLACEMENTS = pytest.mark.parametrize("reset_after", [True, False])


def _check(params, xs, h0=None, *, reverse=False):
    ys, h = jaxgru.gru(params, xs, h0, reverse=reverse)
    expected_ys, expected_h = oracle.gru_batch(params, xs, h0, reverse=reverse)
    assert ys.shape == expected_ys.shape
    assert h.shape == expected_h.shape
    assert ys.dtype == h.dtype == jnp.float32
    np.testing.assert_allclose(ys, expected_ys, **_FLOAT32)
    np.testing.assert_allclose(h, expected_h, **_FLOAT32)


@pytest.mark.parametrize("axes", [(), (1,), (2, 3), (1, 2, 2), (0,), (2, 0)])
def test_any_batch_axes(key, axes):
    params = cases.random_params(key, 3, 4, reset_after=len(axes) % 2 == 0)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (*axes, 5, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (*axes, 4))
    _check(params, xs, h0)
    ys, h = jaxgru.gru(params, xs, h0)
    time_major, same = jaxgru.gru(params, jnp.moveaxis(xs, -2, 0), h0, time_major=True)
    np.testing.assert_array_equal(jnp.moveaxis(time_major, 0, -2), ys)
    np.testing.assert_array_equal(same, h)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 4), (2, 1, 4)])
def test_h0_broadcasts_over_the_batch(key, shape):
    params = cases.random_params(key, 3, 4)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (2, 3, 5, 3))
    _check(params, xs, cases.random_inputs(jax.random.fold_in(key, 2), shape), reverse=True)


@_PLACEMENTS
@pytest.mark.parametrize(("inputs", "units"), [(1, 1), (1, 4), (3, 1)])
def test_one_input_or_one_unit(key, inputs, units, reset_after):
    params = cases.random_params(key, inputs, units, reset_after=reset_after)
    _check(params, cases.random_inputs(key, (2, 5, inputs)))


@_PLACEMENTS
def test_reverse_is_the_flipped_sequence(key, reset_after):
    params = cases.random_params(key, 3, 4, reset_after=reset_after)
    xs = cases.random_inputs(key, (2, 5, 3))
    ys, h = jaxgru.gru(params, xs, reverse=True)
    flipped, last = jaxgru.gru(params, xs[:, ::-1])
    np.testing.assert_array_equal(ys, flipped[:, ::-1])
    np.testing.assert_array_equal(h, last)


@_PLACEMENTS
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


@_PLACEMENTS
@pytest.mark.parametrize("units", [3, 9])  # few units are computed in a loop of another kind
class TestEveryLayer:
    """Laws that need no oracle."""

    def test_rows_of_a_batch_and_later_inputs_reach_nothing_else(self, key, units, reset_after):
        params, xs, h0 = _problem(key, units, reset_after)
        run = jax.jit(jaxgru.gru)
        ys, _ = run(params, xs, h0)
        changed, _ = run(params, xs.at[1].add(1.0).at[:, 3:].add(1.0), h0)
        np.testing.assert_array_equal(changed[[0, 2], :3], ys[[0, 2], :3])
        assert np.all(changed[1] != ys[1])

    def test_a_tanh_layer_stays_within_its_first_state_or_one(self, key, units, reset_after):
        params, xs, h0 = _problem(key, units, reset_after)
        ys, _ = jaxgru.gru(jax.tree.map(lambda leaf: 40 * leaf, params), 10 * xs, 3 * h0)
        # A mean of numbers within a bound is within it, but for a rounding at each of five steps.
        assert np.all(np.abs(ys) <= max(1, np.abs(3 * h0).max()) * (1 + 1e-6))

    def test_units_have_no_order(self, key, units, reset_after):
        params, xs, h0 = _problem(key, units, reset_after)
        order = np.random.default_rng(0).permutation(units)
        columns = np.concatenate([order + gate * units for gate in range(3)])
        shuffled = dataclasses.replace(
            params,
            kernel=params.kernel[:, columns],
            recurrent_kernel=params.recurrent_kernel[np.ix_(order, columns)],
            bias=params.bias[columns],
            recurrent_bias=params.recurrent_bias[columns],
        )
        ys, _ = jaxgru.gru(params, xs, h0)
        shuffled_ys, _ = jaxgru.gru(shuffled, xs, h0[:, order])
        np.testing.assert_allclose(shuffled_ys, ys[..., order], **_FLOAT32)


def _problem(key, units, reset_after):
    params = cases.random_params(key, 3, units, reset_after=reset_after)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (3, 5, 3))
    return params, xs, cases.random_inputs(jax.random.fold_in(key, 2), (3, units))
