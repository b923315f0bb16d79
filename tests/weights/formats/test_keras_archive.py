"""Keras 3's files: ``.keras`` and ``.weights.h5``, by Keras and in the layouts of older versions.

Every variant of a layer is compared with what Keras computes in test_formats_tables.py.
"""

import io
import pickle

import chex
import golden_keras as golden
import golden_keras_legacy as golden_legacy
import jax
import live_keras
import numpy as np
import pytest

import jaxgru
from jaxgru._weights.io import read_all

_arrays = golden.arrays
_ROOT = "_layer_checkpoint_dependencies"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.keras"


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "model.weights.h5"


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
class TestWrittenByKeras:
    """Keras is the oracle: the net has the arrays of its layer."""

    def test_models_within_models(self, key, path):
        keras = pytest.importorskip("keras")
        gru = live_keras.gru
        inner = keras.Sequential([keras.Input((None, 4)), gru(name="deep"), gru()], name="inner")
        around = keras.layers.TimeDistributed(keras.layers.Dense(4), name="around")
        layers = [gru(name="first"), around, inner, gru(name="last", activation="relu")]
        model = live_keras.model_of(*layers, keras.layers.Lambda(lambda x: 2 * x))
        gathered = self._written(model, key, path)
        assert list(gathered) == ["first", "inner/deep", f"inner/{inner.layers[1].name}", "last"]
        grus = [layers[0], *inner.layers, layers[3]]
        for found, layer in zip(gathered.values(), grus, strict=True):
            assert found.notes == ()
            assert found.net.activation == layer.activation.__name__
            _assert_holds(found.net, live_keras.weights(layer))

    def test_models_of_a_users_own(self, key, path):
        keras = pytest.importorskip("keras")
        model = _own_model(keras)
        gathered = self._written(model, key, path)
        named = [layer.name for layer in (*model.blocks, model.encoder)]
        assert list(gathered) == [f"blocks/{named[0]}", f"blocks/{named[1]}", named[2]]
        for found, layer in zip(gathered.values(), (*model.blocks, model.encoder), strict=True):
            _assert_holds(found.net, live_keras.weights(layer))
            assert "does not specify activation" in found.notes[0]

    def test_a_shared_layer_is_one(self, key, path):
        keras = pytest.importorskip("keras")
        shared = live_keras.gru(name="shared")
        inner = keras.Sequential([keras.Input((None, 4)), shared], name="inner")
        self._written(live_keras.model_of(keras.layers.Dense(4), shared, inner), key, path)
        _assert_holds(_only(path), live_keras.weights(shared))

    def test_weights_alone(self, key, path, weights):
        """They hold the nets of the model, given what they do not specify."""
        pytest.importorskip("keras")
        for variant, assume in _LEFT_OUT.items():
            layer = live_keras.build(variant, key)
            live_keras.write(live_keras.model_of(layer), weights)
            ((name, found),) = read_all(weights, assume=assume).gathered.items()
            assert name == layer.name
            live_keras.write(live_keras.model_of(layer), path)
            chex.assert_trees_all_equal(found.net, _only(path))
            assert jax.tree.structure(found.net) == jax.tree.structure(_only(path))

    def _written(self, model, key, path):
        live_keras.randomise(model, key)
        model.compile("adam", "mse")
        live_keras.write(model, path)
        return read_all(path).gathered


# What a file of weights leaves out of each variant, where it is not what is usual.
_LEFT_OUT = {
    "reset before": None,
    "reset before, no bias": {"reset_after": False},
    "go_backwards": {"reverse": True},
    "RNN of cells": None,
    "sum": {"merge": "sum"},
    "pair": {"merge": None},
}


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


def test_by_order_and_not_by_name(path):
    # Keras 3.3: no names in the weights; and more layers than digits.
    layers = [golden.gru_config(f"gru_{i}", units=4) for i in range(30, 18, -1)]
    groups = golden.in_order(map(_arrays, range(12)))
    golden.write_keras(path, layers, groups)
    gathered = read_all(path).gathered
    assert list(gathered) == [layer["config"]["name"] for layer in layers]
    for i, found in enumerate(gathered.values()):
        _assert_holds(found.net, _arrays(i))


def test_by_name_where_there_are_names(path):
    layers = [golden.gru_config("one"), golden.gru_config("other", activation="relu")]
    groups = golden.in_order([_arrays(0), _arrays(1)])
    names = {"layers/gru": "other", "layers/gru_1": "one"}
    golden.write_keras(path, layers, groups, names=names, version="3.12.0")
    gathered = read_all(path).gathered
    _assert_holds(gathered["one"].net, _arrays(1))
    _assert_holds(gathered["other"].net, _arrays(0))
    assert gathered["other"].net.activation == "relu"


@pytest.mark.parametrize("windows", [True, False])
def test_keras_2_13(path, windows):
    gru = golden.gru_config
    layers = [
        gru("gru_8", recurrent_activation="hard_sigmoid"),
        golden.layer_config("Bidirectional", "both", merge_mode="sum", layer=gru("gru_7")),
        golden.layer_config("Functional", "nested", layers=[gru("gru_9")]),
        gru("gru_10"),
    ]
    groups = {
        f"{_ROOT}/gru/cell": _arrays(0),
        f"{_ROOT}/bidirectional/forward_layer/cell": _arrays(1),
        f"{_ROOT}/bidirectional/backward_layer/cell": _arrays(2),
        f"{_ROOT}/bidirectional/layer/cell": [],
        f"{_ROOT}/functional/{_ROOT}/gru/cell": _arrays(3),
        # Numbered in twos: 2.13 came by each layer with weights twice.
        f"{_ROOT}/gru_2/cell": _arrays(4),
    }
    golden.write_keras(path, layers, groups, windows=windows, version="2.13.1")
    gathered = read_all(path).gathered
    held = [_arrays(0), _arrays(1) + _arrays(2), _arrays(3), _arrays(4)]
    names = ["gru_8", "both", "nested/gru_9", "gru_10"]
    assert list(gathered) == names
    for name, arrays in zip(names, held, strict=True):
        _assert_holds(gathered[name].net, arrays)
    # By this name Keras 2 meant another function than Keras 3.
    assert gathered["gru_8"].net.recurrent_activation == "hard_sigmoid_keras2"
    assert gathered["both"].net.merge == "sum"


def test_each_refusal_is_its_layers_own(path):
    gru, layer_config = golden.gru_config, golden.layer_config
    layers = [
        gru("held"),
        gru("odd", activation="mish"),
        gru("larger", units=5),
        gru("bare", use_bias=False),
        layer_config("Sequential", "inner", layers=[gru("shared")]),
        layer_config("Bidirectional", "halved", merge_mode="concat", layer=gru("gru")),
    ]
    groups = golden.in_order(map(_arrays, range(4)))
    groups["layers/sequential"] = []
    groups["layers/bidirectional/forward_layer/cell"] = _arrays(9)
    golden.write_keras(path, layers, groups)
    assert jaxgru.load(path, layer="held").hidden_size == 4
    for layer, reason in {
        "odd": "activation is .mish.: expected one of",
        "larger": "layers/gru_2/cell has arrays for 4 units: expected 5",
        "bare": "layers/gru_3/cell has 3 arrays: expected 2, as its configuration",
        "inner/shared": "its weights are not in the file",
        "halved": "layers/bidirectional has 1 cells: expected 2, as in the configuration",
    }.items():
        with pytest.raises(jaxgru.WeightsError, match=reason):
            jaxgru.load(path, layer=layer)


def test_without_its_group_a_layer_leaves_the_number_of_the_next(path):
    layers = [golden.gru_config("first"), golden.gru_config("second")]
    golden.write_keras(path, layers, {"layers/gru_1/cell": _arrays(1)})
    _assert_holds(jaxgru.load(path, layer="second"), _arrays(1))
    with pytest.raises(jaxgru.WeightsError, match="its weights are not in the file"):
        jaxgru.load(path, layer="first")


def test_what_weights_alone_leave_out_is_assumed(weights):
    weights.write_bytes(golden.weights_of({"layers/gru/cell": _arrays(0)}))
    with pytest.warns(
        jaxgru.WeightsWarning, match="does not specify activation, recurrent_activation"
    ):
        params = jaxgru.load(weights)
    assert (params.activation, params.recurrent_activation) == ("tanh", "sigmoid")
    given = {"activation": "relu", "recurrent_activation": "sigmoid", "reverse": False}
    assert jaxgru.load(weights, assume=given).activation == "relu"
    with pytest.raises(jaxgru.WeightsError, match="reset_after is True in the file"):
        jaxgru.load(weights, assume={"reset_after": False})


def test_names_without_names_in_the_file(weights):
    places = ["layers/gru_10", "layers/gru_2", "layers/gru", "layers/sequential/layers/gru"]
    places += ["encoder", "layers/encoder", "optimizer"]
    groups = {f"{place}/cell": _arrays(i) for i, place in enumerate(places)}
    weights.write_bytes(golden.weights_of(groups | {"decoder": _arrays(9)}))
    gathered = read_all(weights).gathered
    assert list(gathered) == [
        *("decoder", "encoder", "layers/encoder", "gru", "gru_2", "gru_10", "sequential/gru")
    ]
    np.testing.assert_array_equal(gathered["gru_2"].net.kernel, _arrays(1)[0])
    np.testing.assert_array_equal(gathered["decoder"].net.kernel, _arrays(9)[0])


def test_other_layers_are_passed_over(weights):
    kernel, recurrent_kernel, bias = _arrays(0)
    others = {
        "layers/dense": [kernel, bias[0]],
        "layers/simple_rnn/cell": [kernel[:, :4], recurrent_kernel[:, :4], bias[0, :4]],
        "layers/lstm/cell": [np.tile(kernel, 4)[:, :16], np.tile(recurrent_kernel, 2)[:, :16]],
        "layers/attention": [kernel, recurrent_kernel, bias[:, :4]],
        "layers/rnn/cell/cells": [],
        "layers/four": [kernel, recurrent_kernel, bias, bias],
    }
    weights.write_bytes(golden.weights_of(others))
    with pytest.raises(jaxgru.WeightsError, match="it has no GRU"):
        jaxgru.load(weights)


def test_a_stack_whose_cells_do_not_fit(weights):
    cells = {f"layers/rnn/cell/cells/gru_cell{i}": _arrays(n) for n, i in enumerate(["", "_1"])}
    weights.write_bytes(golden.weights_of(cells))
    with pytest.raises(jaxgru.WeightsError, match=r"has 4 outputs and .* has 3 inputs"):
        jaxgru.load(weights)


@pytest.mark.parametrize("own", ["my_cell", "lstm_cell"])
def test_cells_of_several_classes_have_no_order(weights, own):
    """Groups of cells count each class on its own."""
    cells = {f"layers/rnn/cell/cells/{name}": _arrays(0) for name in ("gru_cell", own)}
    weights.write_bytes(golden.weights_of(cells))
    with pytest.raises(jaxgru.WeightsError, match=f"of the classes 'gru_cell', '{own}', whose"):
        jaxgru.load(weights)


class TestSubclasses:
    """A class of a user's own may compute anything."""

    def _write(self, path, **options):
        layer = golden.gru_config("own", activation="relu")
        layer |= {"module": "my.layers", "class_name": "MyGRU", "registered_name": "my>MyGRU"}
        layer["config"] |= options
        golden.write_keras(path, [layer], {"layers/my_gru/cell": _arrays(0)})

    def test_refused_with_its_values_unless_assumed(self, path):
        self._write(path)
        message = "its class is 'MyGRU', units=4, activation='relu', recurrent_activation='sigmoid'"
        with pytest.raises(jaxgru.WeightsError, match=message):
            jaxgru.load(path)
        net = jaxgru.load(path, assume={"subclass": "gru"})
        _assert_holds(net, _arrays(0))
        assert net.activation == "relu"

    @pytest.mark.parametrize("name", ["MyGRU", "GRU"])
    def test_a_class_that_is_not_registered(self, path, name):
        layer = golden.gru_config("own") | {"module": "my.layers", "class_name": name}
        group = "my_gru" if name == "MyGRU" else "gru"
        golden.write_keras(path, [layer], {f"layers/{group}/cell": _arrays(0)})
        with pytest.raises(jaxgru.WeightsError, match=f"its class is '{name}', units=4"):
            jaxgru.load(path)

    def test_without_the_fields(self, path):
        layer = golden.layer_config("MyGRU", "own") | {"module": "my.layers"}
        golden.write_keras(path, [layer], {"layers/my_gru/cell": _arrays(0)})
        with pytest.raises(jaxgru.WeightsError, match="its class is 'MyGRU', which may compute"):
            jaxgru.load(path)
        with pytest.warns(jaxgru.WeightsWarning, match="does not specify activation"):
            net = jaxgru.load(path, assume={"subclass": "gru"})
        _assert_holds(net, _arrays(0))

    def test_it_is_no_field_of_a_file(self, path):
        self._write(path)
        with pytest.raises(ValueError, match="override has 'subclass': expected it in assume"):
            jaxgru.load(path, override={"subclass": "gru"})


class TestChains:
    def test_models_within_models_and_a_linear_activation(self, path):
        """Each array is that of its layer; the configuration has the order."""
        inner = [
            golden.layer_config("Sequential", name, layers=[golden.gru_config("g")])
            for name in "ab"
        ]
        linear = golden.layer_config("Activation", "linear", activation="linear")
        groups = {
            "layers/sequential/layers/gru/cell": _arrays(0),
            "layers/sequential_1/layers/gru/cell": _arrays(1, inputs=4),
        }
        golden.write_keras(path, [inner[0], linear, inner[1]], groups, class_name="Sequential")
        for layer in ("a/g+b/g", "*"):
            net = jaxgru.load(path, layer=layer)
            _assert_holds(net, [*_arrays(0), *_arrays(1, inputs=4)])
        linear["config"]["activation"] = "relu"
        golden.write_keras(path, [inner[0], linear, inner[1]], groups, class_name="Sequential")
        with pytest.raises(jaxgru.WeightsError, match="are the outputs of Activation linear"):
            jaxgru.load(path, layer="a/g+b/g")

    def test_a_layer_called_twice(self, path):
        gru = golden.gru_config("g")
        gru["inbound_nodes"] = [[[["x", 0, 0, {}]]], [[["g", 0, 0, {}]]]]
        groups = golden.in_order([_arrays(0, inputs=4)])
        golden.write_keras(path, [golden.layer_config("InputLayer", "x"), gru], groups)
        assert len(jaxgru.load(path, layer="g+g")) == 2
        assert isinstance(jaxgru.load(path), jaxgru.GRUParams)
        with pytest.raises(jaxgru.WeightsError, match="inputs of 'g' are those of the model or g"):
            jaxgru.load(path, layer="g+g+g")
        with pytest.raises(jaxgru.WeightsError, match="g is called several times"):
            jaxgru.load(path, layer="*")


def test_all_of_one(path):
    golden.write_keras(path, [golden.gru_config("g")], golden.in_order([_arrays(0)]))
    _assert_holds(jaxgru.load(path, layer="*"), _arrays(0))


def test_the_others_load(path):
    layers = [golden.gru_config("a"), golden.gru_config("b")]
    golden.write_keras(path, layers, golden.in_order([_arrays(0), []]))
    message = "b: layers/gru_1/cell has no weights: .*load.layer=. returns the others: 'a'"
    with pytest.raises(jaxgru.WeightsError, match=message):
        jaxgru.load_all(path)
    _assert_holds(jaxgru.load(path, layer="a"), _arrays(0))


def test_cudnn_weights_alone(weights):
    """The layout is that of test_keras_legacy.py, whose arrays are those of the same net."""
    net = golden_legacy.random_net(1, reset_after=True)
    held = list(golden_legacy.cudnn_arrays(net).values())
    weights.write_bytes(golden.weights_of({"layers/cu_dnngru": held}))
    found = jaxgru.load(weights, assume={"reverse": False})
    chex.assert_trees_all_equal(found, net)


@pytest.mark.parametrize("as_file", [True, False])
def test_a_pickled_model(path, tmp_path, as_file):
    """Keras 3 has the archive in a BytesIO, Keras 2 in bytes; nothing is run."""
    golden.write_keras(path, [golden.gru_config("g")], golden.in_order([_arrays(0)]))
    content = path.read_bytes()
    model = _Pickled(io.BytesIO(content) if as_file else content)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    _assert_holds(jaxgru.load(tmp_path / "model.pkl", layer="g"), _arrays(0))


class _Pickled:
    def __init__(self, content):
        self._content = content

    def __reduce__(self):
        return _fail, (self._content,)


def _fail(content):
    raise AssertionError("run")


def _only(path):
    (found,) = read_all(path).gathered.values()
    assert not [note for note in found.notes if "does not specify" in note]
    return found.net


def _assert_holds(net, arrays):
    """Compare a net bit-for-bit, with what ``get_weights`` gives of layers with two biases."""
    layers = jax.tree.leaves(net, is_leaf=lambda node: isinstance(node, jaxgru.GRUParams))
    held = [
        np.asarray(array)
        for layer in layers
        for array in (
            layer.kernel,
            layer.recurrent_kernel,
            np.stack([layer.bias, layer.recurrent_bias]),
        )
    ]
    for one, other in zip(held, arrays, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
