"""Keras' legacy HDF5 files: the layouts of older versions, and those that the installed Keras has.

Every variant of a layer is compared with what Keras computes in test_formats_tables.py.
"""

import json

import golden_keras
import golden_keras_legacy as golden
import live_keras
import numpy as np
import pytest
from equal import assert_same

import jaxgru
from jaxgru._weights.io import WeightsError, read_all
from jaxgru._weights.libraries.keras.arrays import Cell, to_params

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.h5"


class TestOlderVersions:
    @pytest.mark.parametrize("version", golden.ALL)
    def test_nets(self, path, version):
        expected = golden.ALL[version](path)
        found = _read(path)
        assert list(found) == list(expected)
        for name, net in expected.items():
            assert_same(found[name].net, net)
        if not version.endswith("weights"):  # a model has all of it
            assert not [note for one in found.values() for note in one.notes if "assumed" in note]

    def test_what_weights_alone_leave_out(self, path):
        golden.tensorflow_2_weights(path)
        found = _read(path)
        assert found["encoder/zz"].notes == (
            "the file does not specify activation, recurrent_activation, reverse: 'tanh', "
            "'sigmoid', False are assumed (assume= changes that)",
        )
        assert "recurrent_activation, merge:" in found["encoder/both"].notes[0]
        found = _read(path, {"activation": "relu", "merge": "sum", "reverse": True})
        assert found["encoder/both"].net.merge == "sum"
        assert found["encoder/both"].net.backward.activation == "relu"
        assert isinstance(found["encoder/zz"].net, jaxgru.Backward)

    def test_hard_sigmoid_is_assumed_of_early_weights(self, path):
        golden.keras_1_weights(path)
        (note,) = _read(path)["gru_1"].notes
        assert "'tanh', 'hard_sigmoid_keras2', False are assumed" in note

    def test_cudnn_layout_as_keras_draws_it(self):
        """The picture of two gates' layouts, from the formula of Keras 2's converter."""
        gate = np.arange(6, dtype=np.float32).reshape(2, 3)
        stored = gate.T.reshape(gate.shape)  # to cuDNN
        np.testing.assert_array_equal(stored, [[0, 3, 1], [4, 2, 5]])
        np.testing.assert_array_equal(stored.T.reshape(gate.shape, order="F"), gate)  # from cuDNN
        cell = Cell(3, "tanh", "sigmoid", use_bias=False, reset_after=True, is_cudnn=True)
        arrays = [np.hstack([stored] * 3), np.zeros((3, 9), np.float32)]
        np.testing.assert_array_equal(to_params(arrays, cell, "here").kernel, np.hstack([gate] * 3))


class TestFoundByShape:
    """GRUs that are in no configuration."""

    def test_a_class_of_the_users_own(self, path):
        net = golden.random_net(1, reset_after=True)
        model = golden.layer("Sequential", "model", layers=[golden.layer("MyGRU", "mine")])
        weights = {f"mine/my_cell/{name}:0": array for name, array in golden.arrays(net).items()}
        golden.write(path, {"mine": weights}, model=model, version="2.11.0")
        found = _read(path)["mine"]
        assert_same(found.net, net)
        assert "activation" in found.notes[0]

    @pytest.mark.parametrize("name", ["MyGRU", "GRU"])
    def test_a_class_that_is_not_registered(self, path, name):
        net = golden.random_net(1, reset_after=True, activation="relu")
        layer = golden_keras.gru_config("mine", activation="relu") | {"module": "my.layers"}
        layer |= {"class_name": name, "registered_name": name}
        model = golden.layer("Sequential", "model", layers=[layer])
        golden.write(path, {"mine": golden.weights("mine/cell", net)}, model=model, version="3.3.3")
        with pytest.raises(
            jaxgru.WeightsError, match=f"its class is '{name}', units=4, activation='relu'"
        ):
            jaxgru.load(path)
        assert_same(jaxgru.load(path, assume={"subclass": "gru"}), net)

    def test_without_a_bias(self, path):
        arrays = golden.arrays(golden.random_net(3, reset_after=True))
        del arrays["bias"]
        golden.write(path, {"gru": arrays}, root="", version="2.9.0")
        found = _read(path)["gru"]
        assert found.net.bias is None
        assert "reset_after" in found.notes[0]


def _refusals():
    arrays = golden.arrays(golden.random_net(4, reset_after=True))
    bias, kernel = arrays["bias"], arrays["kernel"]
    return {
        "reset_after": (
            {"reset_after": False}, arrays,
            r"gru/bias has shape \(2, 12\): expected \(3H,\) for 4 units"),
        "kernel alone": ({}, {"kernel": kernel}, "weights of 0 cells for it, by name or"),
        "other inputs": (
            {}, arrays | {"kernel": kernel[:, :9]},
            r"/gru/kernel has shape \(3, 9\): expected \(I, 3H\) for 4 units"),
        "types": (
            {}, arrays | {"bias": bias.astype(np.float64)},
            "is float32 and /model_weights/gru/bias float64: expected one dtype"),
    }  # fmt: skip


@pytest.mark.parametrize("name", _refusals())
def test_a_gru_that_cannot_be_held(path, name):
    """It alone is refused: its neighbor is sound."""
    options, weights, message = _refusals()[name]
    usual = {"units": 4, "activation": "tanh", "recurrent_activation": "sigmoid"}
    usual |= {"reset_after": True, "use_bias": True}
    layers = [
        golden.layer("GRU", "gru", **(usual | options)),
        golden.layer("GRU", "other", **usual),
    ]
    net = golden.random_net(5, reset_after=True)
    held = {"gru": weights, "other": golden.arrays(net)}
    model = golden.layer("Sequential", "model", layers=layers)
    golden.write(path, held, model=model, version="3.1.0")

    found = _read(path)

    assert isinstance(found["gru"], WeightsError)
    with pytest.raises(WeightsError, match=message):
        raise found["gru"]
    assert_same(found["other"].net, net)


def test_what_is_beside_the_layers_is_passed_over(path):
    """An optimizer's state and a Lambda's bytecode are not looked at, sound or not."""
    expected = golden.keras_2_2(path)
    with h5py.File(path, "a") as file:
        file["optimizer_weights/adam/kernel:0"] = np.ones((3, 12), np.float32)
        file["model_weights/top_level_model_weights/objects"] = [b"\x80\x04cos\nsystem\n."]
        model = json.loads(file.attrs["model_config"])
        code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}
        model["config"]["layers"].append(golden.layer("Lambda", "evil", function=code))
        file.attrs["model_config"] = json.dumps(model)
    assert list(_read(path)) == list(expected)


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
class TestWrittenByKeras:
    """Models of many layers: those of one are in test_formats_tables.py."""

    def test_models_within_models(self, key, path):
        keras = pytest.importorskip("keras")
        gru = live_keras.gru
        deepest = keras.Sequential([keras.Input((None, 4)), gru(name="gru")], name="deepest")
        frozen = gru(name="frozen", reset_after=False, trainable=False)
        inner = keras.Sequential(
            [keras.Input((None, 4)), frozen, deepest, gru(name="gru_1")], name="inner"
        )
        timed = keras.layers.TimeDistributed(gru(name="timed"), name="around")
        layers = [gru(name="first", dropout=0.2, recurrent_dropout=0.1), inner, gru(name="last")]
        xs = keras.Input((5, 2, live_keras.INPUTS))
        ys = keras.layers.Reshape((10, 4))(timed(xs))
        for layer in layers:
            ys = layer(ys)
        model = keras.Model(xs, keras.layers.Dense(2)(ys))
        live_keras.randomise(model, key)
        live_keras.write(model, path)

        gathered = read_all(path).gathered

        expected = {
            "around/timed": timed.layer,
            "first": layers[0],
            "inner/frozen": frozen,
            "inner/deepest/gru": deepest.layers[0],
            "inner/gru_1": inner.layers[-1],
            "last": layers[2],
        }
        assert list(gathered) == list(expected)
        for name, layer in expected.items():
            kernel, recurrent_kernel, _ = live_keras.weights(layer)
            np.testing.assert_array_equal(gathered[name].net.kernel, kernel)
            np.testing.assert_array_equal(gathered[name].net.recurrent_kernel, recurrent_kernel)
            assert gathered[name].net.reset_after == layer.reset_after


def _read(path, assume=None):
    contents = read_all(path, assume=assume)
    assert contents.format == "keras-h5"
    return contents.gathered
