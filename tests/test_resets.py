"""Episodes within a sequence: the state starts anew where one begins.

The oracle is ``gru`` on each episode by itself.
"""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru

_BATCH, _TIME, _CUT = 2, 6, 4


@pytest.fixture
def problem(key, x64):
    """A layer, inputs, a first state, and flags that cut every sequence at one step."""
    params = cases.random_params(key, 3, 4, dtype=jnp.float64)
    keys = jax.random.split(key, 3)
    xs = cases.random_inputs(keys[0], (_BATCH, _TIME, 3), jnp.float64)
    h0, anew = (cases.random_inputs(k, (_BATCH, 4), jnp.float64) for k in keys[1:])
    resets = jnp.zeros((_BATCH, _TIME), bool).at[:, _CUT].set(True)
    return params, xs, h0, anew, resets


# Double precision, sums of about a hundred terms.
_TOLERANCE = {"rtol": 1e-11, "atol": 1e-12}


@pytest.mark.parametrize("reverse", [False, True])
def test_episodes_are_sequences_of_their_own(problem, reverse):
    params, xs, h0, anew, resets = problem
    for state, after in (({"reset_state": anew}, anew), ({}, h0)):
        ys, h = jaxgru.gru(params, xs, h0, resets=resets, reverse=reverse, **state)
        starts = (after, h0) if reverse else (h0, after)
        first, second = (
            jaxgru.gru(params, part, start, reverse=reverse)
            for part, start in zip((xs[:, :_CUT], xs[:, _CUT:]), starts, strict=True)
        )
        np.testing.assert_allclose(ys, jnp.concatenate([first[0], second[0]], axis=1), **_TOLERANCE)
        np.testing.assert_allclose(h, (first if reverse else second)[1], **_TOLERANCE)


def test_both_directions_are_cut_at_the_same_place(problem):
    params, xs, *_, resets = problem
    net = jaxgru.Bidirectional(params, jax.tree.map(lambda leaf: 2 * leaf, params))
    ys, _ = jaxgru.gru(net, xs, resets=resets)
    parts = (jaxgru.gru(net, part)[0] for part in (xs[:, :_CUT], xs[:, _CUT:]))
    np.testing.assert_allclose(ys, jnp.concatenate(list(parts), axis=1), **_TOLERANCE)


def test_a_carried_state_is_not_what_later_episodes_start_from(problem):
    params, xs, h0, _, resets = problem
    zeros = jnp.zeros(4)
    whole, last = jaxgru.gru(params, xs, h0, resets=resets, reset_state=zeros)
    first, h = jaxgru.gru(params, xs[:, :2], h0, resets=resets[:, :2], reset_state=zeros)
    second, h = jaxgru.gru(params, xs[:, 2:], h, resets=resets[:, 2:], reset_state=zeros)
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, **_TOLERANCE)
    np.testing.assert_allclose(h, last, **_TOLERANCE)
