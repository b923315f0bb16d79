"""The legacy ``.h5`` files that the installed Keras writes: its layers are the oracle."""

import warnings

import jax
import live_keras
import net_oracle
import numpy as np
import pytest

from jaxgru.net import check_net
from jaxgru.weights import read_all
from jaxgru.weights.results import Found

pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

# Keras computes in float32 and the oracle in float64, over 50 steps of states within +-1.
_TOLERANCE = {"rtol": 0, "atol": 2e-6}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model of a layer of each variant, side by side, and the path of its file."""
    keras = pytest.importorskip("keras")
    xs = keras.Input((None, live_keras.INPUTS))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        layers = {
            variant: live_keras.build(variant, jax.random.key(i))
            for i, variant in enumerate(live_keras.USUAL)
        }
        model = keras.Model(xs, [layer(xs) for layer in layers.values()])
    model.compile("adam", "mse")
    path = tmp_path_factory.mktemp("legacy") / "model.h5"
    live_keras.write(model, path)
    return layers, path


def test_weights_alone(written, tmp_path):
    layers, path = written
    with h5py.File(path) as model, h5py.File(tmp_path / "weights.h5", "w") as file:
        for name, value in model["model_weights"].attrs.items():
            file.attrs[name] = value
        for name in model["model_weights"]:
            model.copy(f"model_weights/{name}", file)
    gathered = read_all(tmp_path / "weights.h5").gathered
    # A backward layer of its own name does not tell that it is one: the two stand side by side.
    unlike = layers["unlike directions"]
    usual = [layer for layer in layers.values() if layer is not unlike]
    sides = [f"{unlike.name}/{side.name}" for side in (unlike.forward_layer, unlike.backward_layer)]
    assert list(gathered) == [layer.name for layer in usual] + sides
    for layer in usual:
        held = jax.tree.leaves(gathered[layer.name].net)
        assert sum(array.size for array in held) == layer.count_params()
        assert "activation" in gathered[layer.name].notes[0]


def test_models_within_models(key, tmp_path):
    import keras

    gru = live_keras.gru
    deepest = keras.Sequential([keras.Input((None, 4)), gru(name="gru")], name="deepest")
    frozen = gru(name="frozen", reset_after=False, trainable=False)
    inner = keras.Sequential([keras.Input((None, 4)), frozen, deepest, gru()], name="inner")
    timed = keras.layers.TimeDistributed(gru(name="timed"), name="around")
    layers = [gru(name="first", dropout=0.2, recurrent_dropout=0.1), inner, gru(name="last")]
    xs = keras.Input((5, 2, live_keras.INPUTS))
    ys = keras.layers.Reshape((10, 4))(timed(xs))
    for layer in layers:
        ys = layer(ys)
    model = keras.Model(xs, keras.layers.Dense(2)(ys))
    live_keras.randomise(model, key)
    live_keras.write(model, tmp_path / "model.h5")

    gathered = read_all(tmp_path / "model.h5").gathered

    unnamed = inner.layers[-1]
    expected = {
        "around/timed": timed.layer,
        "first": layers[0],
        "inner/frozen": frozen,
        "inner/deepest/gru": deepest.layers[0],
        f"inner/{unnamed.name}": unnamed,
        "last": layers[2],
    }
    assert list(gathered) == list(expected)
    for name, layer in expected.items():
        kernel, recurrent_kernel, _ = live_keras.weights(layer)
        np.testing.assert_array_equal(gathered[name].net.kernel, kernel)
        np.testing.assert_array_equal(gathered[name].net.recurrent_kernel, recurrent_kernel)
        assert gathered[name].net.reset_after == layer.reset_after


def test_stateful(key, tmp_path):
    import keras

    layer = live_keras.gru(stateful=True)
    xs = keras.Input((5, live_keras.INPUTS), batch_size=2)
    model = keras.Model(xs, layer(xs))
    live_keras.randomise(layer, key)
    live_keras.write(model, tmp_path / "model.h5")
    layer.reset_state()
    _assert_computes(read_all(tmp_path / "model.h5").gathered[layer.name], layer, key)


def _assert_computes(found, layer, key):
    assert isinstance(found, Found), found
    check_net(found.net)
    xs = live_keras.inputs(key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        expected = live_keras.outputs(layer, xs)
    h0 = jax.tree.map(
        lambda params: np.zeros((len(xs), params.hidden_size)),
        found.net,
        is_leaf=lambda node: hasattr(node, "kernel"),
    )
    ys, _ = net_oracle.run(found.net, xs, h0)
    for one, other in zip(jax.tree.leaves(ys), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, **_TOLERANCE)
