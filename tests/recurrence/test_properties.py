"""What holds for every layer and input, by Hypothesis: shapes, variants and values are drawn."""

import dataclasses

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jaxgru

pytestmark = pytest.mark.usefixtures("x64")

# Gates between 0 and 1, and no exponential of an exponential: within a few steps the state stays
# below 200. The unbounded ones stand in the grid of all variants.
_GATES = ["sigmoid", "hard_sigmoid", "hard_sigmoid_keras2"]
_CANDIDATES = [name for name in jaxgru.ACTIVATIONS if name != "exponential"]

# Double precision: sums of at most ten terms of size up to 200, at most four steps deep.
_TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


@given(st.data(), st.booleans(), st.booleans())
def test_equals_oracle(data, reverse, time_major):
    params = data.draw(_layers())
    xs, h0 = data.draw(_inputs(params))
    expected_ys, expected_h = oracle.gru_batch(params, xs, h0, reverse=reverse)

    given_xs = np.moveaxis(xs, -2, 0) if time_major else xs
    ys, h = jaxgru.gru(params, given_xs, h0, reverse=reverse, time_major=time_major)

    ys = np.moveaxis(ys, 0, -2) if time_major else ys
    assert (ys.shape, h.shape) == (expected_ys.shape, expected_h.shape)
    np.testing.assert_allclose(ys, expected_ys, **_TOLERANCE)
    np.testing.assert_allclose(h, expected_h, **_TOLERANCE)


@given(st.data(), st.booleans())
def test_a_sequence_may_be_cut_anywhere(data, reverse):
    params = data.draw(_layers())
    xs, h0 = data.draw(_inputs(params))
    cut = data.draw(st.integers(0, xs.shape[-2]))
    whole, last = jaxgru.gru(params, xs, h0, reverse=reverse)

    pieces = [xs[..., :cut, :], xs[..., cut:, :]]
    h = h0
    for i in (1, 0) if reverse else (0, 1):
        pieces[i], h = jaxgru.gru(params, pieces[i], h, reverse=reverse)

    np.testing.assert_allclose(np.concatenate(pieces, axis=-2), whole, **_TOLERANCE)
    np.testing.assert_allclose(h, last, **_TOLERANCE)


@given(st.data())
def test_rows_of_a_batch_do_not_mix(data):
    params = data.draw(_layers())
    xs, h0 = data.draw(_inputs(params))
    ys, _ = jaxgru.gru(params, xs, h0)
    every_h0 = np.broadcast_to(h0, (*xs.shape[:-2], params.hidden_size))
    for index in np.ndindex(xs.shape[:-2]):
        alone, _ = jaxgru.gru(params, xs[index], every_h0[index])
        np.testing.assert_allclose(ys[index], alone, **_TOLERANCE)


@given(st.data())
def test_later_inputs_do_not_reach_earlier_states(data):
    params = data.draw(_layers())
    xs, h0 = data.draw(_inputs(params))
    ys, _ = jaxgru.gru(params, xs, h0)
    cut = data.draw(st.integers(0, xs.shape[-2]))
    changed = xs.copy()
    changed[..., cut:, :] += 1
    np.testing.assert_array_equal(
        jaxgru.gru(params, changed, h0)[0][..., :cut, :], ys[..., :cut, :]
    )


@given(st.data())
def test_a_tanh_layer_stays_within_its_first_state_or_one(data):
    params = dataclasses.replace(data.draw(_layers()), activation="tanh")
    xs, h0 = data.draw(_inputs(params))
    ys, _ = jaxgru.gru(params, xs, h0)
    # A mean of numbers within a bound is within it, but for a rounding at each of four steps.
    assert np.all(np.abs(ys) <= max(1, np.abs(h0).max(initial=0)) * (1 + 1e-14))


@given(st.data())
def test_units_have_no_order(data):
    params = data.draw(_layers())
    xs, h0 = data.draw(_inputs(params))
    order = np.array(data.draw(st.permutations(range(params.hidden_size))))
    columns = np.concatenate([order + gate * params.hidden_size for gate in range(3)])
    shuffled = dataclasses.replace(
        params,
        kernel=params.kernel[:, columns],
        recurrent_kernel=params.recurrent_kernel[np.ix_(order, columns)],
        bias=None if params.bias is None else params.bias[columns],
        recurrent_bias=None if params.recurrent_bias is None else params.recurrent_bias[columns],
    )
    ys, _ = jaxgru.gru(params, xs, h0)
    np.testing.assert_allclose(
        jaxgru.gru(shuffled, xs, h0[..., order])[0], ys[..., order], **_TOLERANCE
    )


def _numbers(limit, *shape):
    return arrays(np.float64, shape, elements=st.floats(-limit, limit, allow_subnormal=False))


@st.composite
def _layers(draw):
    inputs, units = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3, 9]))
    bias = _numbers(0.25, 3 * units)
    return jaxgru.GRUParams(
        kernel=draw(_numbers(0.25, inputs, 3 * units)),
        recurrent_kernel=draw(_numbers(0.25, units, 3 * units)),
        bias=draw(st.none() | bias),
        recurrent_bias=draw(st.none() | bias),
        reset_after=draw(st.booleans()),
        activation=draw(st.sampled_from(_CANDIDATES)),
        recurrent_activation=draw(st.sampled_from(_GATES)),
        clip=draw(st.none() | st.floats(0.1, 5)),
    )


@st.composite
def _inputs(draw, params):
    """Draw xs, and an h0 of the whole batch or of one row for all."""
    batch = draw(st.lists(st.integers(0, 3), max_size=2))
    xs = draw(_numbers(2, *batch, draw(st.integers(0, 4)), params.input_size))
    h0 = draw(_numbers(2, *draw(st.sampled_from([[], batch])), params.hidden_size))
    return xs, h0
