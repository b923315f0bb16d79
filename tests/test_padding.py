"""Padded batches: what a mask and lengths mean, in either direction and through any net.

The oracle runs each sequence by itself, without its padding; test_matrix.py compares lengths and
masks, and all derivatives, in every combination with the other options.
"""

import cases
import chex
import jax
import jax.numpy as jnp
import net_oracle
import nets
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

import jaxgru

# float32 sums of about ten terms near 1, a few steps and layers deep.
_FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}
_BATCH, _TIME = 4, 5
_LENGTHS = np.array([5, 2, 0, 3])
_WITHIN = np.arange(_TIME) < _LENGTHS[:, None]
_GAPS = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1]], bool)


@pytest.fixture
def xs(key):
    return cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))


def _state(key, net):
    return nets.random_state(jax.random.fold_in(key, 2), net, (_BATCH,))


@pytest.mark.parametrize(
    ("name", "reverse"), [("layer", True), ("reset before", False), ("bidirectional stack", False)]
)
@given(arrays(bool, (_BATCH, _TIME)), arrays(bool, (_BATCH, _TIME)))
def test_any_mask_and_any_episodes(name, reverse, mask, resets):
    key = jax.random.key(7)
    net = nets.random_net(key, name)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))
    h0, reset_state = _state(key, net), _state(jax.random.fold_in(key, 3), net)
    flags = {"resets": resets, "reset_state": reset_state}
    result = jaxgru.gru(net, xs, h0, mask=mask, reverse=reverse, **flags)
    expected = net_oracle.run(net, xs, h0, valid=mask, reverse=reverse, **flags)
    chex.assert_trees_all_close(result, _float32(expected), **_FLOAT32)


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


def test_what_padding_holds_reaches_nothing(key, xs):
    net = nets.random_net(key, "bidirectional stack")
    h0 = _state(key, net)

    def run(arguments):
        net, xs, h0 = arguments
        return jaxgru.gru(net, xs, h0, mask=_GAPS)

    def everything(xs):
        arguments = (net, xs, h0)
        ones = jax.tree.map(jnp.ones_like, arguments)
        values, tangents = jax.jvp(run, (arguments,), (ones,))
        _, pull_back = jax.vjp(run, arguments)
        return values, tangents, pull_back(jax.tree.map(jnp.ones_like, values))

    everything = jax.jit(everything)
    clean = everything(jnp.where(_GAPS[..., None], xs, 0.0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
    for bad in (np.nan, np.inf):
        chex.assert_trees_all_equal(everything(jnp.where(_GAPS[..., None], xs, bad)), clean)


def test_lengths_that_cannot_be_looked_at_are_clamped(key, xs):
    params = cases.random_params(key, 3, 4)
    run = jax.jit(lambda lengths: jaxgru.gru(params, xs, lengths=lengths))
    given, meant = jnp.array([9, 2, -3, 127], jnp.int8), jnp.array([5, 2, 0, 5], jnp.int8)
    chex.assert_trees_all_equal(run(given), run(meant))


def test_nan_in_padding_where_jax_looks_for_nan(key, xs):
    params = cases.random_params(key, 3, 4)
    bad = jnp.where(_WITHIN[..., None], xs, jnp.nan)
    expected = jaxgru.gru(params, jnp.nan_to_num(bad), lengths=_LENGTHS)
    with jax.debug_nans(True):
        found = jaxgru.gru(params, bad, lengths=_LENGTHS)
        gradient = jax.grad(lambda p: jaxgru.gru(p, bad, lengths=_LENGTHS)[1].sum())(params)
    # The same program on the same numbers: equal to the bit.
    chex.assert_trees_all_equal(found, expected)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def _float32(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)
