"""Nets: stacks, both directions and any nesting of them, and the state that mirrors them.

The oracle walks a net layer by layer, in float64 NumPy.
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

import jaxgru

# float32 sums of about ten terms near 1, a few steps and layers deep.
_FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}
_BATCH, _TIME = 3, 5


@pytest.fixture
def xs(key):
    return cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))


def _state(key, net):
    return nets.random_state(jax.random.fold_in(key, 2), net, (_BATCH,))


@pytest.mark.parametrize("name", nets.NAMES)
def test_equals_its_layers_one_by_one(key, xs, name):
    net, reverse = nets.random_net(key, name), nets.NAMES.index(name) % 2 == 0
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


def test_maps_over_an_ensemble_of_nets(key, xs):
    members = [nets.random_net(k, "bidirectional stack") for k in jax.random.split(key, 2)]
    ensemble = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    result = jax.vmap(jaxgru.gru, in_axes=(0, None))(ensemble, xs)
    for i, member in enumerate(members):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], result)
        chex.assert_trees_all_close(one, jaxgru.gru(member, xs), **_FLOAT32)


def test_the_widest_type_is_that_of_the_whole_net(key, x64, default_promotion):
    net = (cases.random_params(key, 3, 4), cases.random_params(key, 4, 2, dtype=jnp.float64))
    ys, h = jaxgru.gru(net, jnp.ones((_TIME, 3), jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves((ys, h))} == {jnp.dtype(jnp.float64)}


def _layers(*sizes):
    return [jaxgru.init(jax.random.key(0), *size) for size in sizes]


_34, _43, _44 = _layers((3, 4), (4, 3), (4, 4))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ((), "net is an empty tuple: expected at least one layer"),
        (
            {"kernel": 1},
            "net is a dict: expected a GRUParams, a Bidirectional, a Backward, or a tuple or "
            "list of them; jaxgru.from_flax and jaxgru.from_haiku make one of their parameters",
        ),
        (
            (_34, (_43, [_44])),
            "net[1][0] gives 3 outputs and net[1][1] takes 4 inputs: expected the same",
        ),
        ((_34, _34), "net[0] gives 4 outputs and net[1] takes 3 inputs: expected the same"),
        (
            (_34, jaxgru.GRUParams(_44.kernel, jnp.ones((4, 9)))),
            "net[1]: recurrent_kernel has shape (4, 9): expected (H, 3H)",
        ),
        (
            jaxgru.Bidirectional(_34, _44),
            "net.forward has 3 inputs and net.backward 4: expected the same",
        ),
        (
            [jaxgru.Bidirectional(_43, _44)],
            "net[0].forward has 3 units and net[0].backward 4: expected the same",
        ),
        (
            (jaxgru.Bidirectional(_34, _34, None), _44),
            "net[0] gives a pair of sequences, as its merge is None: expected one sequence for "
            "net[1]",
        ),
        (
            jaxgru.Bidirectional(_34, jaxgru.Bidirectional(_34, _34, None)),
            "net.backward gives a pair of sequences: expected a merge other than None",
        ),
    ],
)
def test_layers_that_do_not_fit(net, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(net, jnp.ones((5, 3)))


def test_an_unknown_merge():
    message = "merge is 'max': expected one of 'concat', 'sum', 'mul', 'ave', None"
    with pytest.raises(ValueError, match=f"^{message}$"):
        jaxgru.Bidirectional(_34, _34, "max")


_NET = (_34, jaxgru.Bidirectional(_44, _44))
_ONE = jnp.ones(4)


@pytest.mark.parametrize(
    ("h0", "message"),
    [
        (
            _ONE,
            "h0 is a single array of shape (4,): expected a tuple of 2 states, one for each layer "
            "there",
        ),
        ([_ONE], "h0 is a list of 1: expected a tuple of 2 states, one for each layer there"),
        (
            (_ONE, (_ONE, _ONE)),
            "h0[1] is a tuple of 2: expected a Bidirectional(state, state), as the net has one "
            "there",
        ),
        ((_ONE[:3], None), "h0[0] has shape (3,): expected (..., 4), for 4 units"),
        (
            ((_ONE, _ONE), None),
            "h0[0] is a tuple: expected a JAX or NumPy array; np.asarray(h0[0]) makes one",
        ),
        (
            (None, jaxgru.Bidirectional(None, jnp.ones((3, 4)))),
            "h0[1].backward has shape (3, 4): expected (2, 4), as xs has it",
        ),
        (
            (None, jaxgru.Bidirectional(jnp.ones(4, int), None)),
            "h0[1].forward has dtype int32: expected a floating-point type",
        ),
    ],
)
def test_states_that_do_not_mirror_the_net(h0, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(_NET, jnp.ones((2, 5, 3)), h0)


def test_a_state_that_does_not_mirror_a_backward_net():
    message = (
        "h0 is a single array of shape (4,): expected a Backward(state), as the net has one there"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(jaxgru.Backward(_34), jnp.ones((5, 3)), _ONE)


def _float32(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)
