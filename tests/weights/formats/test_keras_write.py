"""Nets written as Keras models and as their weights, read by Keras and by jaxgru."""

import dataclasses

import cases
import chex
import jax
import live_keras
import nets
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read_all

pytestmark = pytest.mark.live

# Both compute in float32, in other orders of sums, over 50 steps of states within +-1.
_TOLERANCE = {"rtol": 0, "atol": 2e-6}


@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("name", ["reset before", "pair", "bidirectional stack", "backward"])
def test_keras_computes_the_same(key, tmp_path, name):
    keras = pytest.importorskip("keras")
    if name == "reset before":
        net = cases.random_params(key, 3, 4, reset_after=False, biases="input bias")
    else:
        net = nets.random_net(key, name)
    jaxgru.save(net, tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    xs = live_keras.inputs(key)
    ys, h = jaxgru.gru(net, xs)
    # Keras' sequence would be in another order of time: that model gives the last state.
    ours = h if name == "backward" else ys
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(model(xs)), strict=True):
        np.testing.assert_allclose(one, other, **_TOLERANCE)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
@pytest.mark.parametrize("biases", ["no bias", "input bias", "recurrent bias"])
def test_biases(key, tmp_path, biases, ending):
    pytest.importorskip("keras")
    net = cases.random_params(key, 3, 4, biases=biases)
    path = tmp_path / f"model{ending}"
    jaxgru.save(net, path)
    ((_, found),) = read_all(path).gathered.items()
    # Keras has both biases or none: one that is not there comes back as zeros.
    zeros = np.zeros(12, np.float32)
    if biases != "no bias":
        absent = {
            field: zeros for field in ("bias", "recurrent_bias") if getattr(net, field) is None
        }
        net = dataclasses.replace(net, **absent)
    _assert_same(found.net, net)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_stack_comes_back_as_its_layers(key, tmp_path, ending):
    pytest.importorskip("keras")
    sizes = [(2, 3), (3, 3), (3, 4), (4, 3)]
    layers = [cases.random_params(jax.random.fold_in(key, i), *sizes[i]) for i in range(4)]
    both = nets.random_net(key, "concat")
    # A stack within a stack is no other net than one stack.
    net = [*layers, (both,)]
    path = tmp_path / f"model{ending}"
    jaxgru.save(net, path)
    gathered = read_all(path).gathered
    if ending == ".keras":
        (found,) = gathered.values()
        _assert_same(found.net, (*layers, both))
        return
    in_order = ["gru", "gru_1", "gru_2", "gru_3", "bidirectional"]
    assert sorted(gathered) == sorted(in_order)
    for name, layer in zip(in_order, [*layers, both], strict=True):
        _assert_same(gathered[name].net, layer)


@pytest.mark.usefixtures("default_promotion")
def test_a_model_takes_its_weights(key, tmp_path):
    keras = pytest.importorskip("keras")
    net = nets.random_net(key, "concat")
    jaxgru.save(net, tmp_path / "net.weights.h5")
    jaxgru.save(jax.tree.map(jax.numpy.zeros_like, net), tmp_path / "zeros.keras")
    model = keras.models.load_model(tmp_path / "zeros.keras")
    model.load_weights(tmp_path / "net.weights.h5")
    np.testing.assert_array_equal(live_keras.weights(model)[0], net.forward.kernel)
    # A model made anew from the same configuration is drawn as Keras draws.
    anew = keras.models.clone_model(model)
    assert np.ptp(live_keras.weights(anew)[1]) > 0


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda net: dataclasses.replace(net, clip=1.0), "clip is 1.0"),
        (lambda net: (net, jaxgru.Backward(net), net), r"net\[1\] is a Backward, whose outputs"),
        (
            lambda net: jaxgru.Bidirectional((net, net), (net, net)),
            "net.forward is a tuple of 2: expected a GRUParams",
        ),
        (lambda net: jaxgru.Backward((net, net)), "net.net is a tuple of 2: expected a GRUParams"),
    ],
)
def test_nets_that_no_model_is(key, tmp_path, make, reason):
    pytest.importorskip("keras")
    path = tmp_path / "model.keras"
    path.write_text("old")
    with pytest.raises(jaxgru.WeightsError, match=reason) as caught:
        jaxgru.save(make(cases.random_params(key, 4, 4)), path)
    assert str(caught.value).startswith(f"{path} was not written: ")
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda net: dataclasses.replace(net, activation="relu"), "activation is 'relu': expected"),
        (
            lambda net: dataclasses.replace(net, recurrent_activation="hard_sigmoid"),
            "recurrent_activation is 'hard_sigmoid': expected 'sigmoid', as a file of weights",
        ),
        (jaxgru.Backward, "net is a Backward: expected a GRUParams or a Bid"),
        (
            lambda net: jaxgru.Bidirectional(net, net, "sum"),
            "merge of net is 'sum': expected 'concat'",
        ),
        (
            lambda net: dataclasses.replace(net, reset_after=False, bias=None, recurrent_bias=None),
            "reset_after is False and there is no bias: expected a bias",
        ),
    ],
)
def test_what_weights_alone_do_not_say(key, tmp_path, make, reason):
    net = make(cases.random_params(key, 4, 4))
    with pytest.raises(jaxgru.WeightsError, match=reason):
        jaxgru.save(net, tmp_path / "model.weights.h5")


def _assert_same(one, other):
    """Compare two nets to the bit, and all that is static."""
    one, other = (jax.tree.map(np.asarray, net) for net in (one, other))
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    chex.assert_trees_all_equal(one, other)
