"""Keras' legacy HDF5 files: the layouts of older versions, and wrong ones."""

import json

import golden_keras_legacy as golden
import jax
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import WeightsError, read_all

h5py = pytest.importorskip("h5py")


class TestOlderVersions:
    @pytest.mark.parametrize("version", golden.ALL)
    def test_nets(self, tmp_path, version):
        expected = golden.ALL[version](tmp_path / "model.h5")
        found = _read(tmp_path / "model.h5")
        assert list(found) == list(expected)
        for name, net in expected.items():
            _assert_equal(found[name].net, net)

    @pytest.mark.parametrize("version", ["keras_1", "keras_2_1", "tensorflow_2"])
    def test_what_a_model_says_is_not_assumed(self, tmp_path, version):
        golden.ALL[version](tmp_path / "model.h5")
        assert all(found.notes == () for found in _read(tmp_path / "model.h5").values())

    def test_backward_layers_are_noted(self, tmp_path):
        golden.keras_2_2(tmp_path / "model.h5")
        (note,) = _read(tmp_path / "model.h5")["gru_1"].notes
        assert note.startswith("Keras gives the outputs of go_backwards=True in the order of")

    def test_what_weights_alone_do_not_say_is_noted(self, tmp_path):
        golden.tensorflow_2_weights(tmp_path / "weights.h5")
        found = _read(tmp_path / "weights.h5")
        assert found["encoder/zz"].notes == (
            "the file does not specify activation, recurrent_activation, reverse: 'tanh', "
            "'sigmoid', False are assumed (assume= changes that)",
        )
        assert "recurrent_activation, merge:" in found["encoder/both"].notes[0]

    def test_hard_sigmoid_is_assumed_of_early_weights(self, tmp_path):
        golden.keras_1_weights(tmp_path / "weights.h5")
        (note,) = _read(tmp_path / "weights.h5")["gru_1"].notes
        assert "'tanh', 'hard_sigmoid_keras2', False are assumed" in note

    def test_the_caller_says_what_weights_do_not(self, tmp_path):
        golden.tensorflow_2_weights(tmp_path / "weights.h5")
        assume = {"activation": "relu", "merge": "sum", "reverse": True}
        found = _read(tmp_path / "weights.h5", assume)
        assert found["encoder/both"].net.merge == "sum"
        assert found["encoder/both"].net.backward.activation == "relu"
        assert isinstance(found["encoder/zz"].net, jaxgru.Backward)

    def test_the_caller_cannot_contradict_a_model(self, tmp_path):
        golden.keras_2_1(tmp_path / "model.h5")
        found = _read(tmp_path / "model.h5", {"reset_after": True})
        assert "reset_after is False in the file" in str(found["gru_1"])

    def test_cudnn_layout_as_keras_draws_it(self):
        """The picture of two gates' layouts, from the formula of Keras 2's converter."""
        from jaxgru.weights.libraries.keras.arrays import Cell, to_params

        gate = np.arange(6, dtype=np.float32).reshape(2, 3)
        stored = gate.T.reshape(gate.shape)  # to cuDNN
        np.testing.assert_array_equal(stored, [[0, 3, 1], [4, 2, 5]])
        back = stored.T.reshape(gate.shape, order="F")  # from cuDNN
        np.testing.assert_array_equal(back, gate)
        cell = Cell(3, "tanh", "sigmoid", use_bias=False, reset_after=True, is_cudnn=True)
        arrays = [np.hstack([stored] * 3), np.zeros((3, 9), np.float32)]
        params = to_params(arrays, cell, "here")
        np.testing.assert_array_equal(params.kernel, np.hstack([gate] * 3))


class TestFoundByShape:
    """GRUs that no configuration tells of."""

    def test_a_class_of_the_users_own(self, tmp_path):
        net = golden.random_net(1, reset_after=True)
        model = golden.layer("Sequential", "model", layers=[golden.layer("MyGRU", "mine")])
        weights = {f"mine/my_cell/{name}:0": array for name, array in golden.arrays(net).items()}
        golden.write(tmp_path / "model.h5", {"mine": weights}, model=model, version="2.11.0")
        found = _read(tmp_path / "model.h5")["mine"]
        _assert_equal(found.net, net)
        assert "activation" in found.notes[0]

    def test_a_cell_with_more_arrays_is_none(self, tmp_path):
        arrays = golden.arrays(golden.random_net(2, reset_after=True))
        weights = {f"mine/cell/{name}:0": a for name, a in arrays.items()}
        weights["mine/cell/attention:0"] = np.ones(3)
        golden.write(tmp_path / "weights.h5", {"mine": weights}, root="")
        with pytest.raises(WeightsError, match="there is no GRU in it"):
            _read(tmp_path / "weights.h5")

    def test_without_a_bias(self, tmp_path):
        arrays = golden.arrays(golden.random_net(3, reset_after=True))
        del arrays["bias"]
        golden.write(tmp_path / "weights.h5", {"gru": arrays}, root="", version="2.9.0")
        found = _read(tmp_path / "weights.h5")["gru"]
        assert found.net.bias is None
        assert "reset_after" in found.notes[0]

    def test_one_direction_called_forward(self, tmp_path):
        golden.tensorflow_2_weights(tmp_path / "weights.h5")
        assert isinstance(_read(tmp_path / "weights.h5")["forward_gru"].net, jaxgru.GRUParams)


def _refusals():
    net = golden.random_net(4, reset_after=True)
    arrays = golden.arrays(net)
    kernel = {"kernel": arrays["kernel"]}
    return {
        "activation": ({"activation": "softmax"}, arrays, "activation is 'softmax': expected"),
        "units": ({"units": 7}, arrays, "arrays for 4 units: expected 7"),
        "reset_after": (
            {"reset_after": False},
            arrays,
            r"bias of /model_weights/gru has shape \(2, 12\): expected \(12,\), for 4 units and",
        ),
        "use_bias": ({"use_bias": False}, arrays, "3 arrays: expected 2, as its configuration"),
        "kernel alone": ({}, kernel, "weights of 0 cells for it: expected 1"),
        "no weights": ({}, {}, "weights of 0 cells for it: expected 1"),
        "other inputs": (
            {},
            arrays | {"kernel": arrays["kernel"][:, :9]},
            r"kernel of /model_weights/gru has shape \(3, 9\): expected \(I, 12\)",
        ),
        "types": (
            {},
            arrays | {"bias": arrays["bias"].astype(np.float64)},
            "is float32 and bias of /model_weights/gru float64: expected one dtype",
        ),
        "integers": (
            {},
            arrays | {"bias": arrays["bias"].astype(np.int32)},
            "gru/bias holds integers: expected floating-point",
        ),
    }


@pytest.mark.parametrize("name", _refusals())
def test_a_gru_that_cannot_be_held(tmp_path, name):
    """It alone is refused: its neighbour is sound."""
    options, weights, message = _refusals()[name]
    usual = {"units": 4, "activation": "tanh", "recurrent_activation": "sigmoid"}
    usual |= {"reset_after": True, "use_bias": True}
    layers = [
        golden.layer("GRU", "gru", **(usual | options)),
        golden.layer("GRU", "other", **usual),
    ]
    model = golden.layer("Sequential", "model", layers=layers)
    net = golden.random_net(5, reset_after=True)
    held = {"gru": weights, "other": golden.arrays(net)}
    golden.write(tmp_path / "model.h5", held, model=model, version="3.1.0")

    found = _read(tmp_path / "model.h5")

    assert isinstance(found["gru"], WeightsError)
    with pytest.raises(WeightsError, match=message):
        raise found["gru"]
    _assert_equal(found["other"].net, net)


_WRONG_MODELS = {
    "no JSON": (b"{", "model_config is no JSON"),
    "deep": (b"[" * 100_000, "model_config is no JSON"),
    "a key twice": (b'{"a": 1, "a": 2}', "model_config has the key 'a' twice in one place"),
    "no model": (b"[1]", "the model is .*: expected its class_name and config"),
    "two of a name": (
        golden.layer("Model", "m", layers=[golden.layer("A", "a"), golden.layer("B", "a")]),
        "model_config has two layers called 'a': expected one",
    ),
    "an escape": (
        golden.layer("Model", "m", layers=[golden.layer("GRU", "\x1b[31m")]),
        "a layer is called .*x1b.*: expected printable text",
    ),
}


@pytest.mark.parametrize("name", _WRONG_MODELS)
def test_wrong_models(tmp_path, name):
    said, message = _WRONG_MODELS[name]
    golden.keras_2_1(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        file.attrs["model_config"] = said if isinstance(said, bytes) else json.dumps(said).encode()
    with pytest.raises(WeightsError, match=message):
        _read(tmp_path / "model.h5")


def test_layers_deeper_than_any_model_has(tmp_path):
    model = golden.layer("Dense", "x")
    for _ in range(40):
        model = golden.layer("Model", "x", layers=[model])
    golden.write(tmp_path / "model.h5", {}, model=model)
    with pytest.raises(WeightsError, match="layers within layers more than 32 deep"):
        _read(tmp_path / "model.h5")


def test_a_name_that_is_not_printable(tmp_path):
    golden.write(tmp_path / "weights.h5", {"gru": {}}, root="")
    with h5py.File(tmp_path / "weights.h5", "a") as file:
        file.attrs["layer_names"] = ["gru\n"]
    with pytest.raises(WeightsError, match=r"layer_names of / has 'gru\\n': expected printable"):
        _read(tmp_path / "weights.h5")


def test_what_is_beside_the_layers_is_passed_over(tmp_path):
    """An optimiser's state and a Lambda's bytecode are not looked at, sound or not."""
    expected = golden.keras_2_2(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        file["optimizer_weights/adam/kernel:0"] = np.ones((3, 12), np.float32)
        file["model_weights/top_level_model_weights/objects"] = [b"\x80\x04cos\nsystem\n."]
        model = json.loads(file.attrs["model_config"])
        code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}
        model["config"]["layers"].append(golden.layer("Lambda", "evil", function=code))
        file.attrs["model_config"] = json.dumps(model)
    assert list(_read(tmp_path / "model.h5")) == list(expected)


def _read(path, assume=None):
    contents = read_all(path, assume=assume)
    assert contents.format == "keras-h5"
    return contents.gathered


def _assert_equal(net, expected):
    assert jax.tree.structure(net) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(net), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
