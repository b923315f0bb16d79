"""Dropout: what is dropped, for how long, and what is left of the expectation.

What is drawn is seen from outside, by layers that hand on what enters them. test_matrix.py compares
values and derivatives with the oracles, given the same draws.
"""

import cases
import chex
import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest

import jaxgru

_BATCH, _TIME, _RATE = 3, 6, 0.4
_IDENTITY = 1 / (1 - _RATE)


@pytest.fixture
def xs(key):
    return cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))


def _passes_inputs_on(inputs):
    """Return a layer whose states are its inputs: the update gate is shut, the candidate linear."""
    zeros = jnp.zeros((inputs, inputs))
    return jaxgru.GRUParams(
        kernel=jnp.concatenate([zeros, zeros, jnp.eye(inputs)], axis=1),
        recurrent_kernel=jnp.zeros((inputs, 3 * inputs)),
        bias=jnp.repeat(jnp.array([-100.0, 0.0, 0.0]), inputs),
        activation="linear",
    )


def _adds_half_the_state(units):
    """Return a layer with ``h' = (h + x + h * factors / 2) / 2``, where factors are dropout's."""
    zeros = jnp.zeros((units, units))
    return jaxgru.GRUParams(
        kernel=jnp.concatenate([zeros, zeros, jnp.eye(units)], axis=1),
        recurrent_kernel=jnp.concatenate([zeros, zeros, jnp.eye(units)], axis=1),
        activation="linear",
    )


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("on", ["inputs", "between"])
def test_each_number_is_dropped_or_scaled(key, on, shared):
    ones = jnp.ones((_BATCH, _TIME, 8))
    layer = _passes_inputs_on(8)
    net = layer if on == "inputs" else ((layer,), [layer])  # stacks within a stack
    dropout = jaxgru.Dropout(_RATE, on=on, shared=shared)
    ys, _ = jaxgru.gru(net, ones, dropout=dropout, key=key)
    kept = np.asarray(ys) > 0.5
    # The state is the input: the shut gate leaves less than float32 can show beside 1.
    np.testing.assert_allclose(ys, np.where(kept, _IDENTITY, 0.0), rtol=1e-6, atol=1e-6)
    assert 0 < kept.mean() < 1
    same_at_all_steps = np.all(kept == kept[:, :1])
    assert same_at_all_steps == shared
    # Sequences differ from one another.
    assert np.any(kept[0] != kept[1])


def test_every_layer_has_draws_of_its_own(key):
    layer, adds = _passes_inputs_on(8), _adds_half_the_state(8)
    ones = jnp.ones((_BATCH, _TIME, 8))
    once, twice = (jaxgru.gru((layer,) * n, ones, dropout=_RATE, key=key)[0] > 0.5 for n in (2, 3))
    assert np.any(once & ~twice)
    pair, dropout = jaxgru.Bidirectional(layer, layer, None), jaxgru.Dropout(_RATE, on="inputs")
    forward, backward = jaxgru.gru(pair, ones, dropout=dropout, key=key)[0]
    assert np.any((forward > 0.5) != (backward > 0.5))
    pair = jaxgru.Bidirectional(adds, adds, None)
    h0 = jaxgru.Bidirectional(ones[:, 0], ones[:, 0], None)
    _, h = jaxgru.gru(pair, ones[:, :1], h0, recurrent_dropout=_RATE, key=key)
    assert np.any(h.forward != h.backward)


def test_the_expectation_of_a_state_is_kept(key):
    layer, h0 = _adds_half_the_state(2), jnp.array([5.0, -3.0])
    xs = jnp.broadcast_to(jnp.array([[[0.7, -1.2]]]), (4000, 1, 2))
    _, h = jaxgru.gru(layer, xs, h0, recurrent_dropout=_RATE, key=key)
    _, plain = jaxgru.gru(layer, xs[0], h0)
    assert len(np.unique(h)) > 2
    # Standard error: at most 1.25 * sqrt(0.4 / 0.6) / sqrt(4000) = 0.016, what is dropped being a
    # quarter of the state; five of them.
    np.testing.assert_allclose(np.mean(h, axis=0), plain, atol=0.08)


_EVERYTHING = {
    "dropout": jaxgru.Dropout(_RATE, on="inputs", shared=True),
    "recurrent_dropout": _RATE,
}


def test_the_key_alone_decides(key, xs):
    net = nets.random_net(key, "stack")
    run = jax.jit(lambda key: jaxgru.gru(net, xs, key=key, **_EVERYTHING))
    once = run(key)
    chex.assert_trees_all_equal(run(key), once)
    assert np.any(run(jax.random.fold_in(key, 1))[0] != once[0])
    # A rate alone acts between layers, and nothing is dropped below a layer.
    by_rate, by_name = (
        jaxgru.gru(net, xs, dropout=dropout, key=key) for dropout in (_RATE, jaxgru.Dropout(_RATE))
    )
    chex.assert_trees_all_equal(by_rate, by_name)
    plain = jaxgru.gru(net, xs)
    chex.assert_trees_all_equal(by_rate[1][0], plain[1][0])
    assert np.any(by_rate[0] != plain[0])


def test_chunks_share_what_is_drawn_for_all_steps(key, xs):
    net = nets.random_net(key, "stack")
    whole, last = jaxgru.gru(net, xs, key=key, **_EVERYTHING)
    first, h = jaxgru.gru(net, xs[:, :2], key=key, **_EVERYTHING)
    second, h = jaxgru.gru(net, xs[:, 2:], h, key=key, **_EVERYTHING)
    # float32 sums of about ten terms near 1, a few steps deep.
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, atol=2e-6)
    chex.assert_trees_all_close(h, last, atol=2e-6)


def test_costs_nothing_when_off(key, xs):
    net = nets.random_net(key, "stack")

    def text(**arguments):
        return jax.jit(lambda xs: jaxgru.gru(net, xs, **arguments)).lower(xs).as_text()

    off = {"dropout": jaxgru.Dropout(0.0, on="inputs"), "recurrent_dropout": 0.0, "key": key}
    assert text() == text(dropout=0.0, key=key) == text(**off)
