"""Keras' layers in memory, to nets and back."""

import contextlib
import os
import subprocess
import sys

import golden_keras as golden
import jax
import jax.numpy as jnp
import live_keras
import nets
import numpy as np
import pytest

import jaxgru


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
class TestLayers:
    """Keras itself is the oracle: the layer that comes back computes the same bit-for-bit."""

    @pytest.mark.parametrize(
        "variant", [*live_keras.USUAL, "softsign, hard_sigmoid", "gelu, exponential"]
    )
    def test_there_and_back(self, key, variant):
        pytest.importorskip("keras")
        layer = live_keras.build(variant, key)
        order = pytest.warns(jaxgru.WeightsWarning, match="last step first")
        with order if variant == "go_backwards" else contextlib.nullcontext():
            net = jaxgru.from_keras(layer)
        assert _arrays(net) == [array.tolist() for array in live_keras.weights(layer)]
        if isinstance(net, tuple):
            return  # RNN of two cells
        # Going backwards Keras and jaxgru agree on the last state alone.
        is_backward = isinstance(net, jaxgru.Backward)
        again = jaxgru.to_keras(net, return_sequences=not is_backward)
        for one, other in zip(live_keras.weights(again), live_keras.weights(layer), strict=True):
            np.testing.assert_array_equal(one, other)
        xs = live_keras.inputs(key)[:, :5]
        expected = layer(xs)[:, -1] if is_backward else layer(xs)
        for one, other in zip(jax.tree.leaves(again(xs)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_double_precision(self, key, x64):
        pytest.importorskip("keras")
        params = nets.random_net(key, "layer", np.float64)
        layer = jaxgru.to_keras(params)
        assert _arrays(jaxgru.from_keras(layer)) == _arrays(params)
        with (
            jax.enable_x64(False),
            pytest.raises(jaxgru.WeightsError, match="has float64 weights, which Keras' JAX"),
        ):
            jaxgru.to_keras(params)

    def test_a_cell_alone(self, key):
        keras = pytest.importorskip("keras")
        cell = keras.layers.GRUCell(4, reset_after=False, activation="relu")
        cell.build((None, 3))
        live_keras.randomise(cell, key)
        net = jaxgru.from_keras(cell)
        assert net.activation == "relu"
        assert not net.reset_after
        np.testing.assert_array_equal(net.bias, live_keras.weights(cell)[2])

    def test_models(self, key):
        keras = pytest.importorskip("keras")
        inner = keras.Sequential([keras.Input((None, 4)), live_keras.gru(name="deep")], name="in")
        first = live_keras.gru(name="first")
        model = live_keras.model_of(first, keras.layers.Dense(4), inner)
        live_keras.randomise(model, key)
        with pytest.raises(jaxgru.WeightsError, match="one of 'first', 'in/deep'"):
            jaxgru.from_keras(model)
        deep = jaxgru.from_keras(model, layer="in/deep")
        np.testing.assert_array_equal(deep.kernel, live_keras.weights(inner)[0])
        assert jaxgru.from_keras(inner).kernel.shape == (4, 12)

    def test_options(self, key):
        pytest.importorskip("keras")
        layer = jaxgru.to_keras(
            nets.random_net(key, "layer"), name="mine", return_sequences=False, return_state=True
        )
        last, state = layer(np.zeros((2, 5, 3)))
        assert layer.name == "mine"
        assert last.shape == state.shape == (2, 4)

    def test_a_subclass_computes_what_is_assumed(self, key):
        keras = pytest.importorskip("keras")

        class MyGRU(keras.layers.GRU):
            pass

        layer = MyGRU(4, return_sequences=True, activation="relu")
        xs = jax.random.normal(key, (2, 7, 3)) / 4
        expected = layer(xs)
        with pytest.raises(jaxgru.WeightsError, match="its class is 'MyGRU', units=4, activation="):
            jaxgru.from_keras(layer)
        net = jaxgru.from_keras(layer, assume={"subclass": "gru"})
        np.testing.assert_allclose(jaxgru.gru(net, xs)[0], expected, rtol=0, atol=2e-6)


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
def test_what_no_net_holds():
    keras = pytest.importorskip("keras")
    layers = keras.layers

    @keras.saving.register_keras_serializable("tests")
    class Own(layers.GRU):
        pass

    mixed = layers.RNN([layers.GRUCell(4), layers.LSTMCell(4)])
    for source, reason in (
        ({}, "source is a dict: expected a Keras layer or model, or the list"),
        (layers.Dense(3, name="dense"), "there is no GRU in 'dense': expected at least one"),
        (live_keras.gru(name="unbuilt"), "unbuilt has no weights yet: expected a built layer"),
        (live_keras.gru(activation="mish"), "activation is 'mish': expected one of"),
        (mixed, "a cell of class 'LSTMCell': expected GRUCell alone"),
        (
            Own(3, name="own"),
            "its class is 'Own', units=3, activation='tanh', .*expected a class of Keras",
        ),
    ):
        with pytest.raises(jaxgru.WeightsError, match=reason):
            jaxgru.from_keras(source)


def test_weights():
    weights = golden.arrays(0)
    with pytest.warns(
        jaxgru.WeightsWarning, match="does not specify activation, recurrent_activation"
    ):
        params = jaxgru.from_keras(weights)
    for one, other in zip(_arrays(params), weights, strict=True):
        assert one == other.tolist()
    given = {"activation": "relu", "recurrent_activation": "sigmoid", "merge": "sum"}
    with pytest.warns(jaxgru.WeightsWarning, match="does not show the order of its directions"):
        net = jaxgru.from_keras(weights + golden.arrays(1), assume=given)
    assert net.merge == "sum"
    assert net.backward.activation == "relu"
    assert _arrays(net) == [array.tolist() for array in weights + golden.arrays(1)]
    given = {**given, "reset_after": False, "reverse": True}
    net = jaxgru.from_keras(weights[:2], assume=given)
    assert isinstance(net, jaxgru.Backward)
    assert not net.net.reset_after


@pytest.mark.parametrize(
    ("weights", "assume", "reason"),
    [
        ([], {}, "weights are a list of 0: expected 2 or 3 arrays, or 4 or 6 for two directions"),
        (golden.arrays(0)[:1], {}, "weights are a list of 1"),
        (golden.arrays(0)[::-1], {}, "weights"),
        (["one", "two"], {}, "weights"),
        (golden.arrays(0), {"reset_after": False}, "reset_after is True in the file"),
    ],
)
def test_wrong_weights(weights, assume, reason):
    with pytest.raises(jaxgru.WeightsError, match=reason):
        jaxgru.from_keras(weights, assume=assume)


_IN_A_PROCESS_OF_ITS_OWN = """
import os, random, warnings
import jax, jaxgru
warnings.simplefilter("error")
random.seed(7)
before = random.getstate()
jax.config.update("jax_numpy_dtype_promotion", "strict")
params = jaxgru.init(jax.random.key(0), 3, 5)
jaxgru.to_keras(params)
jaxgru.save(params, "model.keras")
import keras
assert keras.backend.backend() == "jax", keras.backend.backend()
assert "KERAS_BACKEND" not in os.environ
assert random.getstate() == before
assert keras.config.floatx() == "float32"
assert not jax.config.jax_enable_x64
assert jax.config.jax_numpy_dtype_promotion == "strict"
assert keras.layers.GRU(3).name == "gru_1", "to_keras made the first one"
assert keras.Sequential().name == "sequential"
"""


@pytest.mark.live
@pytest.mark.slow
def test_nothing_else_is_changed(tmp_path):
    pytest.importorskip("keras")
    environment = {name: os.environ[name] for name in os.environ if name != "KERAS_BACKEND"}
    environment |= {"JAX_PLATFORMS": "cpu", "KERAS_HOME": str(tmp_path)}
    command = [sys.executable, "-c", _IN_A_PROCESS_OF_ITS_OWN]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)


def _arrays(net):
    """Return what ``get_weights`` would give of a net's layers, as lists."""
    layers = jax.tree.leaves(net, is_leaf=nets.is_layer)
    return [array.tolist() for layer in layers for array in _layer_arrays(layer)]


def _layer_arrays(params):
    arrays = [params.kernel, params.recurrent_kernel]
    if params.recurrent_bias is not None:
        return [*arrays, jnp.stack([params.bias, params.recurrent_bias])]
    return arrays if params.bias is None else [*arrays, params.bias]
