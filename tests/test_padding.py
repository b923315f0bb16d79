"""Padded batches: what a mask and lengths mean, in either direction and through any net.

The oracle runs each sequence by itself, without its padding; test_matrix.py compares lengths and
masks, and all derivatives, in every combination with the other options.
"""

import re

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


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("units", [4, 16])  # few units are computed in a loop of another kind
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


@pytest.mark.parametrize("name", ["layer", "pair"])
def test_masked_outputs_are_zero_if_so_wished(key, xs, name):
    net = nets.random_net(key, name)
    ys, h = jaxgru.gru(net, xs, lengths=_LENGTHS)
    zeroed, h_zeroed = jaxgru.gru(net, xs, lengths=_LENGTHS, zero_masked=True)
    expected = jax.tree.map(lambda ys: jnp.where(_WITHIN[..., None], ys, 0.0), ys)
    chex.assert_trees_all_equal(zeroed, expected)
    chex.assert_trees_all_equal(h_zeroed, h)


@pytest.mark.parametrize("name", ["reset before", "bidirectional stack"])
def test_what_padding_holds_reaches_nothing(key, xs, name):
    net = nets.random_net(key, name)
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


def test_a_mask_of_nothing_but_padding_and_of_none(key, xs):
    params = cases.random_params(key, 3, 4)
    h0 = _state(key, params)
    ys, h = jaxgru.gru(params, xs, h0, mask=jnp.zeros((_BATCH, _TIME), bool))
    np.testing.assert_array_equal(h, h0)
    np.testing.assert_array_equal(ys, jnp.broadcast_to(h0[:, None], ys.shape))
    every = jaxgru.gru(params, xs, h0, mask=jnp.ones((_BATCH, _TIME), bool))
    chex.assert_trees_all_close(every, jaxgru.gru(params, xs, h0), **_FLOAT32)


def test_one_sequence_has_one_length(key, xs):
    params = cases.random_params(key, 3, 4)
    ys, _ = jaxgru.gru(params, xs, lengths=_LENGTHS)
    alone, _ = jaxgru.gru(params, xs[1], lengths=np.int8(_LENGTHS[1]))
    np.testing.assert_allclose(alone, ys[1], **_FLOAT32)


def test_without_steps_h0_is_left(key):
    params = cases.random_params(key, 3, 4)
    h0, none = _state(key, params), jnp.zeros((_BATCH, 0, 3))
    ys, h = jaxgru.gru(params, none, h0, lengths=jnp.zeros(_BATCH, int), zero_masked=True)
    assert ys.shape == (_BATCH, 0, 4)
    np.testing.assert_array_equal(h, h0)


def test_lengths_that_cannot_be_looked_at_are_clamped(key, xs):
    params = cases.random_params(key, 3, 4)
    run = jax.jit(lambda lengths: jaxgru.gru(params, xs, lengths=lengths))
    given, meant = jnp.array([9, 2, -3, 127], jnp.int8), jnp.array([5, 2, 0, 5], jnp.int8)
    chex.assert_trees_all_equal(run(given), run(meant))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"lengths": jnp.array([5, 6, 1, 1])},
            "lengths[1] is 6: expected 0 to 5, the number of steps of xs",
        ),
        (
            {"lengths": np.array([5, 0, -1, 1])},
            "lengths[2] is -1: expected 0 to 5, the number of steps of xs",
        ),
        (
            {"lengths": jnp.array([5, 2])},
            "lengths has shape (2,): expected (4,), the batch axes of xs",
        ),
        ({"lengths": jnp.ones(4)}, "lengths has dtype float32: expected integers"),
        ({"lengths": jnp.ones(4, bool)}, "lengths has dtype bool: expected integers"),
        (
            {"lengths": [1, 2, 3, 4]},
            "lengths is a list: expected a JAX or NumPy array; np.asarray(lengths) makes one",
        ),
        (
            {"mask": jnp.ones((5, 4), bool)},
            "mask has shape (5, 4): expected (4, 5), that of xs but its last axis",
        ),
        ({"mask": jnp.ones((4, 5))}, "mask has dtype float32: expected bool"),
        (
            {"resets": jnp.ones(5, bool)},
            "resets has shape (5,): expected (4, 5), that of xs but its last axis",
        ),
        ({"resets": jnp.ones((4, 5), int)}, "resets has dtype int32: expected bool"),
        (
            {"lengths": jnp.ones(4, int), "mask": jnp.ones((4, 5), bool)},
            "lengths and mask are both given: expected one of them",
        ),
        ({"reset_state": jnp.ones(4)}, "reset_state is given without resets: expected both"),
        (
            {"reset_state": jnp.ones(3), "resets": jnp.ones((4, 5), bool)},
            "reset_state has shape (3,): expected (..., 4), for 4 units",
        ),
        (
            {"zero_masked": True, "return_sequences": False},
            "zero_masked is given without return_sequences: no masked step is returned",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    params = jaxgru.init(jax.random.key(0), 3, 4)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(params, jnp.ones((4, 5, 3)), **arguments)


def _float32(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)
