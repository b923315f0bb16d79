"""Nets: stacks, both directions and any nesting of them, and the state that mirrors them.

The oracle walks a net layer by layer, in float64 NumPy.
"""

import cases
import chex
import jax
import jax.numpy as jnp
import net_oracle
import nets
import numpy as np
import pytest

import jaxgru

# float32 sums of about ten terms near 1, a few steps and layers deep.
_FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}
_BATCH, _TIME = 3, 5
# One layer, two, and both directions of one are in test_matrix.py.
_NESTED = ["ave", "bidirectional stack", "stacks in both directions", "backward among others"]


@pytest.fixture
def xs(key):
    return cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))


def _state(key, net):
    return nets.random_state(jax.random.fold_in(key, 2), net, (_BATCH,))


@pytest.mark.parametrize("name", _NESTED)
def test_equals_its_layers_one_by_one(key, xs, name):
    net, reverse = nets.random_net(key, name), name == "backward among others"
    h0 = _state(key, net)
    result = jaxgru.gru(net, xs, h0, reverse=reverse)
    expected = net_oracle.run(net, xs, h0, reverse=reverse)
    chex.assert_trees_all_close(result, _float32(expected), **_FLOAT32)
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


def _float32(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)
