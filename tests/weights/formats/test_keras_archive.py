"""Keras' ``.keras`` files: those Keras writes, the layouts of older versions, and wrong ones."""

import json
import zipfile

import golden_keras as golden
import jax
import live_keras
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read_all

# Both compute in float32, in other orders of sums, over 50 steps of states within +-1.
_TOLERANCE = {"rtol": 0, "atol": 2e-6}


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
class TestWrittenByKeras:
    """Keras is the oracle: what its layer computes, the loaded net computes."""

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
    def test_types(self, key, tmp_path, dtype):
        pytest.importorskip("keras")
        with jax.enable_x64(True):
            layer = live_keras.build("usual", key, dtype)
            live_keras.write(live_keras.model_of(layer), tmp_path / "model.keras")
        _assert_holds(_only(tmp_path / "model.keras"), live_keras.weights(layer))

    def test_models_within_models(self, key, tmp_path):
        keras = pytest.importorskip("keras")
        gru = live_keras.gru
        inner = keras.Sequential([keras.Input((None, 4)), gru(name="deep"), gru()], name="inner")
        around = keras.layers.TimeDistributed(keras.layers.Dense(4), name="around")
        layers = [gru(name="first"), around, inner, gru(name="last", activation="relu")]
        model = live_keras.model_of(*layers, keras.layers.Lambda(lambda x: 2 * x))
        live_keras.randomise(model, key)
        model.compile("adam", "mse")
        live_keras.write(model, tmp_path / "model.keras")
        gathered = read_all(tmp_path / "model.keras").gathered
        assert list(gathered) == ["first", "inner/deep", f"inner/{inner.layers[1].name}", "last"]
        grus = [layers[0], *inner.layers, layers[3]]
        for found, layer in zip(gathered.values(), grus, strict=True):
            assert found.notes == ()
            assert found.net.activation == layer.activation.__name__
            _assert_holds(found.net, live_keras.weights(layer))

    def test_models_of_a_users_own(self, key, tmp_path):
        keras = pytest.importorskip("keras")
        model = _own_model(keras)
        live_keras.randomise(model, key)
        live_keras.write(model, tmp_path / "model.keras")
        gathered = read_all(tmp_path / "model.keras").gathered
        named = [layer.name for layer in (*model.blocks, model.encoder)]
        assert list(gathered) == [f"blocks/{named[0]}", f"blocks/{named[1]}", named[2]]
        for found, layer in zip(gathered.values(), (*model.blocks, model.encoder), strict=True):
            _assert_holds(found.net, live_keras.weights(layer))
            assert "does not specify activation" in found.notes[0]

    def test_a_shared_layer_is_one(self, key, tmp_path):
        keras = pytest.importorskip("keras")
        shared = live_keras.gru(name="shared")
        inner = keras.Sequential([keras.Input((None, 4)), shared], name="inner")
        model = live_keras.model_of(keras.layers.Dense(4), shared, inner)
        live_keras.randomise(model, key)
        live_keras.write(model, tmp_path / "model.keras")
        _assert_holds(_only(tmp_path / "model.keras"), live_keras.weights(shared))


def _own_model(keras):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder = live_keras.gru()
            self.blocks = [keras.layers.Bidirectional(live_keras.gru()), live_keras.gru()]
            self.head = keras.layers.Dense(3)

        def call(self, xs):
            for layer in (self.encoder, *self.blocks):
                xs = layer(xs)
            return self.head(xs)

    model = Own()
    model(np.zeros((1, 2, 3), np.float32))
    return model


def test_by_order_and_not_by_name(tmp_path):
    # Keras 3.3: no names in the weights; and more layers than digits.
    layers = [golden.gru_config(f"gru_{i}", units=4) for i in range(30, 18, -1)]
    weights = {f"layers/gru{f'_{i}' if i else ''}/cell": _arrays(i) for i in range(12)}
    golden.write_keras(tmp_path / "model.keras", layers, weights)
    gathered = read_all(tmp_path / "model.keras").gathered
    assert list(gathered) == [layer["config"]["name"] for layer in layers]
    for i, found in enumerate(gathered.values()):
        _assert_holds(found.net, _arrays(i))


def test_by_name_where_there_are_names(tmp_path):
    layers = [golden.gru_config("one"), golden.gru_config("other", activation="relu")]
    weights = {"layers/gru/cell": _arrays(0), "layers/gru_1/cell": _arrays(1)}
    names = {"layers/gru": "other", "layers/gru_1": "one"}
    golden.write_keras(tmp_path / "model.keras", layers, weights, names=names, version="3.12.0")
    gathered = read_all(tmp_path / "model.keras").gathered
    _assert_holds(gathered["one"].net, _arrays(1))
    _assert_holds(gathered["other"].net, _arrays(0))
    assert gathered["other"].net.activation == "relu"


@pytest.mark.parametrize("windows", [True, False])
def test_keras_2_13(tmp_path, windows):
    both = golden.layer_config(
        "Bidirectional", "both", merge_mode="sum", layer=golden.gru_config("gru_7")
    )
    nested = golden.layer_config("Functional", "nested", layers=[golden.gru_config("gru_9")])
    layers = [
        golden.gru_config("gru_8", recurrent_activation="hard_sigmoid"),
        both,
        nested,
        golden.gru_config("gru_10"),
    ]
    root = "_layer_checkpoint_dependencies"
    weights = {
        f"{root}/gru/cell": _arrays(0),
        f"{root}/bidirectional/forward_layer/cell": _arrays(1),
        f"{root}/bidirectional/backward_layer/cell": _arrays(2),
        f"{root}/bidirectional/layer/cell": [],
        f"{root}/functional/{root}/gru/cell": _arrays(3),
        # Numbered in twos: 2.13 came by each layer with weights twice.
        f"{root}/gru_2/cell": _arrays(4),
    }
    golden.write_keras(tmp_path / "model.keras", layers, weights, windows=windows, version="2.13.1")
    gathered = read_all(tmp_path / "model.keras").gathered
    assert list(gathered) == ["gru_8", "both", "nested/gru_9", "gru_10"]
    _assert_holds(gathered["gru_8"].net, _arrays(0))
    # By this name Keras 2 meant another function than Keras 3.
    assert gathered["gru_8"].net.recurrent_activation == "hard_sigmoid_keras2"
    assert gathered["both"].net.merge == "sum"
    _assert_holds(gathered["both"].net, _arrays(1) + _arrays(2))
    _assert_holds(gathered["nested/gru_9"].net, _arrays(3))
    _assert_holds(gathered["gru_10"].net, _arrays(4))


def test_each_refusal_is_its_layers_own(tmp_path):
    layers = [
        golden.gru_config("held"),
        golden.gru_config("odd", activation="mish"),
        golden.gru_config("larger", units=5),
        golden.gru_config("bare", use_bias=False),
        golden.layer_config("Sequential", "inner", layers=[golden.gru_config("shared")]),
        golden.layer_config(
            "Bidirectional", "halved", merge_mode="concat", layer=golden.gru_config("gru")
        ),
    ]
    weights = {f"layers/gru{f'_{i}' if i else ''}/cell": _arrays(i) for i in range(4)}
    weights["layers/sequential"] = []
    weights["layers/bidirectional/forward_layer/cell"] = _arrays(9)
    path = tmp_path / "model.keras"
    golden.write_keras(path, layers, weights)
    assert jaxgru.load(path, layer="held").hidden_size == 4
    for layer, reason in {
        "odd": "mish",
        "larger": "layers/gru_2/cell",
        "bare": "layers/gru_3/cell",
        "inner/shared": "model.weights.h5 has no group for it",
        "halved": "layers/bidirectional has 1 cells: expected 2, as in config.json",
    }.items():
        with pytest.raises(jaxgru.WeightsError, match=reason):
            jaxgru.load(path, layer=layer)


_GRU = golden.layer_config("Functional", "model", layers=[golden.gru_config("gru")])
_WEIGHTS = {"layers/gru/cell": golden.arrays(0)}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"config": "{"}, "config.json is no JSON"),
        ({"config": "[" * 100_000}, "config.json is no JSON"),
        ({"config": "\xff".encode("latin-1")}, "config.json is no JSON"),
        ({"config": " " * (8 * 2**20 + 1)}, "config.json has 8388609 bytes: expected at most"),
        ({"metadata": "{"}, "metadata.json is no JSON"),
        ({"groups": {}, "config": json.dumps(golden.layer_config("Model", "own"))}, "no GRU in it"),
        ({"config": "{}"}, "expected its class_name and config"),
        ({"config": "7"}, "the model is 7: expected"),
        (
            {
                "config": json.dumps(
                    golden.layer_config("Functional", "model", layers=2 * [golden.gru_config("a")])
                ),
                "groups": _WEIGHTS | {"layers/gru_1/cell": golden.arrays(1)},
            },
            "config.json has two layers called 'a': expected one",
        ),
        ({"groups": {"\\".join(65 * ["layers"]): []}}, "is 65 groups deep: expected at most 64"),
    ],
)
def test_wrong_files(tmp_path, options, reason):
    path = tmp_path / "wrong.keras"
    golden.write_zip(path, **({"config": json.dumps(_GRU), "groups": _WEIGHTS} | options))
    with pytest.raises(jaxgru.WeightsError, match=reason) as caught:
        jaxgru.load(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "holds no weights: expected them in model.weights.h5"),
        (["model.weights.npz"], "holds its weights in 'model.weights.npz'"),
        (["model.weights.json", "model_00000.weights.h5"], "in 'model.weights.json'"),
    ],
)
def test_weights_elsewhere(tmp_path, names, reason):
    path = tmp_path / "wrong.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(_GRU))
        for name in names:
            archive.writestr(name, "")
    with pytest.raises(jaxgru.WeightsError, match=reason):
        jaxgru.load(path)


def test_the_same_group_by_two_names(tmp_path):
    path = tmp_path / "wrong.keras"
    weights = {"layers/gru/cell": _arrays(0), "layers\\gru\\cell": _arrays(1)}
    golden.write_keras(path, [golden.gru_config("gru")], weights)
    with pytest.raises(jaxgru.WeightsError, match="is there twice: expected once"):
        jaxgru.load(path)


_arrays = golden.arrays


def _only(path):
    (found,) = read_all(path).gathered.values()
    assert not [note for note in found.notes if "does not specify" in note]
    return found.net


def _assert_holds(net, weights):
    """Compare a net, to the bit, with what ``get_weights`` gives of layers with two biases."""
    layers = jax.tree.leaves(net, is_leaf=lambda node: isinstance(node, jaxgru.GRUParams))
    assert len(weights) == 3 * len(layers)
    for i, params in enumerate(layers):
        held = (params.kernel, params.recurrent_kernel, [params.bias, params.recurrent_bias])
        for one, other in zip(held, weights[3 * i : 3 * i + 3], strict=True):
            assert np.asarray(one).dtype == other.dtype
            np.testing.assert_array_equal(np.asarray(one), other)
