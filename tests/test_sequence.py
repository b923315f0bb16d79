"""Whole sequences through any net: batch axes, states, padding, and what is left as it was.

The oracle of the values is the float64 NumPy loop, layer by layer and each sequence by itself,
without its padding. test_matrix.py compares values and derivatives of every option with it, for a
layer, a stack of two, and both directions of one.
"""

from typing import NamedTuple

import cases
import chex
import jax
import jax.numpy as jnp
import net_oracle
import nets
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

import jaxgru
from jaxgru import _sequence

# float32 sums of about ten terms near 1, a few steps and layers deep.
_FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}
_BATCH, _TIME = 4, 5
_LENGTHS = np.array([5, 2, 0, 3])
_GAPS = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1]], bool)


@pytest.fixture
def xs(key):
    return cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))


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


def test_arguments_are_left_as_they_were(key, xs):
    given = jax.tree.map(np.array, (cases.random_params(key, 3, 4), xs))
    before = jax.tree.map(np.copy, given)
    jax.block_until_ready(jaxgru.gru(*given))
    chex.assert_trees_all_equal(given, before)


# Nets


@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        ("layer", True),
        ("reset before", False),
        ("ave", False),
        ("bidirectional stack", False),
        ("stacks in both directions", False),
        ("backward among others", True),
    ],
)
@given(arrays(bool, (_BATCH, _TIME)), arrays(bool, (_BATCH, _TIME)))
def test_any_net_mask_and_episodes(name, reverse, mask, resets):
    key = jax.random.key(7)
    net = nets.random_net(key, name)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))
    h0, reset_state = _state(key, net), _state(jax.random.fold_in(key, 3), net)
    flags = {"resets": resets, "reset_state": reset_state}
    result = jaxgru.gru(net, xs, h0, mask=mask, reverse=reverse, **flags)
    expected = net_oracle.run(net, xs, h0, valid=mask, reverse=reverse, **flags)
    expected = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), expected)
    chex.assert_trees_all_close(result, expected, **_FLOAT32)
    # The state has the structure of the net itself, layers taken as leaves.
    structure = jax.tree.structure(net, is_leaf=nets.is_layer)
    assert jax.tree.structure(result[1]) == structure


@pytest.mark.parametrize("name", ["bidirectional stack", "stacks in both directions"])
def test_without_sequences_the_outputs_are_those_of_the_last_states(key, xs, name):
    net = nets.random_net(key, name)
    ys, h = jaxgru.gru(net, xs, reverse=True, return_sequences=False)
    _, expected_h = jaxgru.gru(net, xs, reverse=True)
    chex.assert_trees_all_close(h, expected_h, **_FLOAT32)
    chex.assert_trees_all_close(ys, net_oracle.last_outputs(h), **_FLOAT32)


def test_none_within_h0_is_zeros(key, xs):
    net = nets.random_net(key, "bidirectional stack")
    some = jnp.ones(4)
    given = [None, jaxgru.Bidirectional(None, some), None]
    zeros = jax.tree.map(lambda layer: jnp.zeros(layer.hidden_size), net, is_leaf=nets.is_layer)
    full = [zeros[0], jaxgru.Bidirectional(zeros[1].forward, some), zeros[2]]
    chex.assert_trees_all_equal(jaxgru.gru(net, xs, given), jaxgru.gru(net, xs, full))


# Episodes


def test_a_reset_to_zeros_beside_h0_warns_once_in_a_process(key, xs):
    params = cases.random_params(key, 3, 4)
    arguments = {"h0": _state(key, params), "resets": _GAPS}
    expected = jaxgru.gru(params, xs, **arguments, reset_state=0)
    _sequence._warn_of_zeros.cache_clear()
    with pytest.warns(FutureWarning, match="reset_state is None beside h0") as caught:
        found = [jaxgru.gru(params, xs, **arguments) for _ in range(2)]
    assert [warning.filename for warning in caught] == [__file__]
    for one in found:
        chex.assert_trees_all_equal(one, expected)


@pytest.mark.parametrize("h0", [None, (None, None)])
def test_resets_without_h0_do_not_warn(key, xs, h0):
    stack = cases.random_params(key, 3, 4), cases.random_params(key, 4, 2)
    _sequence._warn_of_zeros.cache_clear()
    jaxgru.gru(stack, xs, h0, resets=_GAPS)  # warnings are errors


# Padding


# Few units are computed in a loop of another kind.
@pytest.mark.parametrize(
    ("units", "reverse", "reset_after"), [(4, False, True), (4, True, False), (16, True, True)]
)
def test_the_state_is_held_to_the_bit(key, xs, units, reverse, reset_after):
    params = cases.random_params(key, 3, units, reset_after=reset_after)
    h0 = _state(key, params)
    ys, h = jaxgru.gru(params, xs, h0, mask=_GAPS, reverse=reverse)
    order = range(_TIME)[:: -1 if reverse else 1]
    before = h0
    for t in order:
        np.testing.assert_array_equal(ys[:, t][~_GAPS[:, t]], before[~_GAPS[:, t]])
        before = ys[:, t]
    np.testing.assert_array_equal(h, before)
    np.testing.assert_array_equal(h[2], h0[2])


def test_lengths_that_cannot_be_looked_at_are_clamped(key, xs):
    params = cases.random_params(key, 3, 4)
    run = jax.jit(lambda lengths: jaxgru.gru(params, xs, lengths=lengths))
    given, meant = jnp.array([9, 2, -3, 127], jnp.int8), jnp.array([5, 2, 0, 5], jnp.int8)
    chex.assert_trees_all_equal(run(given), run(meant))


def test_nan_and_inf_in_padding_where_jax_looks_for_nan(key, xs):
    params = cases.random_params(key, 3, 4)
    within = np.arange(_TIME) < _LENGTHS[:, None]
    expected = jaxgru.gru(params, jnp.where(within[..., None], xs, 0.0), lengths=_LENGTHS)
    for padding in (jnp.nan, jnp.inf):
        bad = jnp.where(within[..., None], xs, padding)
        with jax.debug_nans(True):
            found = jaxgru.gru(params, bad, lengths=_LENGTHS)
            gradient = jax.grad(lambda p, bad=bad: jaxgru.gru(p, bad, lengths=_LENGTHS)[1].sum())(
                params
            )
        # The same program on the same numbers: bit-for-bit identical.
        chex.assert_trees_all_equal(found, expected)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def _state(key, net):
    return nets.random_state(jax.random.fold_in(key, 2), net, (_BATCH,))


# Kinds of stack


class _Stack(NamedTuple):
    first: jaxgru.GRUParams
    second: jaxgru.Bidirectional


def test_a_named_tuple_is_a_stack_whose_states_it_has(key, xs):
    net = _Stack(cases.random_params(key, 3, 4), nets.random_net(key, "concat"))
    net = net._replace(first=cases.random_params(key, 3, 3))
    h0 = _state(key, tuple(net))
    ys, h = jaxgru.gru(net, xs, h0, resets=_GAPS, reset_state=_Stack(*h0))
    expected_ys, expected_h = jaxgru.gru(tuple(net), xs, h0, resets=_GAPS, reset_state=h0)
    assert isinstance(h, _Stack)
    chex.assert_trees_all_equal((ys, tuple(h)), (expected_ys, expected_h))
    *_, runs = _sequence.run_layers(net, xs, h)
    assert [run.place for run in runs] == ["net[0]", "net[1].forward", "net[1].backward"]


# Every layer


@pytest.mark.parametrize("name", ["bidirectional stack", "backward among others"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_runs_of_every_layer(key, xs, name, reverse):
    net = nets.random_net(key, name)
    h0 = nets.random_state(key, net, (_BATCH,))
    ys, h, runs = _sequence.run_layers(net, xs, h0, reverse=reverse)
    chex.assert_trees_all_close((ys, h), jaxgru.gru(net, xs, h0, reverse=reverse), **_FLOAT32)
    assert len(runs) == len(jax.tree.leaves(h))
    np.testing.assert_array_equal(runs[0].xs, xs)
    for run, first, last in zip(runs, jax.tree.leaves(h0), jax.tree.leaves(h), strict=True):
        # A step of every state before is the state after.
        after = jaxgru.gru_cell(run.params, run.before, run.xs)
        np.testing.assert_allclose(run.ys, after, **_FLOAT32)
        at_end = run.before[:, -1]
        backward = np.array_equal(at_end, first)
        assert backward or np.array_equal(run.before[:, 0], first)
        np.testing.assert_array_equal(run.ys[:, 0 if backward else -1], last)
