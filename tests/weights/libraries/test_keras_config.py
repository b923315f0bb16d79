"""What Keras' configurations have of a GRU, whatever the version, and what none can hold."""

import pytest

from jaxgru._weights.defaults import Fields
from jaxgru._weights.io import WeightsError
from jaxgru._weights.libraries.keras.config import gru_layer, model_of


def entry(class_name, *, registered_name=None, **config):
    """Return a layer as a configuration has it."""
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "config": {"name": "it"} | config,
        "registered_name": registered_name,
    }


def read(layer, *, version="3.3.3", assume=None):
    """Return what the configuration of a model of one layer has of it."""
    (only,) = model_of(entry("Sequential", layers=[layer])).inner
    return gru_layer(only, version, Fields(assume or {}))


def function(name, **more):
    """Return a function as the serialization of Keras 2.12 and later has it."""
    return {"class_name": "function", "config": name, "module": "builtins"} | more


class TestActivations:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, "linear"),
            ("swish", "silu"),
            ("celu", "elu"),
            ("relu6", "relu6"),
            (function("relu"), "relu"),
            (function("tanh", module=None), "tanh"),
            (entry("ReLU", max_value=6.0, negative_slope=0.0, threshold=0.0), "relu6"),
            (entry("ReLU", max_value=None), "relu"),
            (entry("ELU", alpha=1.0), "elu"),
            (entry("Activation", activation="softsign"), "softsign"),
        ],
        ids=str,
    )
    def test_names(self, value, expected):
        (cell,) = read(entry("GRU", activation=value, recurrent_activation="sigmoid")).cells
        assert (cell.activation, cell.recurrent_activation) == (expected, "sigmoid")

    @pytest.mark.parametrize(
        "value",
        [
            "mish",
            "softmax",
            "Custom>relu",
            7,
            ["relu"],
            function("my_function"),
            function("relu", module="my_module"),
            {"class_name": "__lambda__", "config": {"code": "4wEA"}},
            entry("LeakyReLU", negative_slope=0.0),
            entry("ReLU", max_value=5.0),
            entry("ReLU", negative_slope=0.1),
            entry("ELU", alpha=0.5),
            entry("Activation", activation=entry("Activation", activation="relu")),
        ],
        ids=str,
    )
    def test_what_no_net_can_hold(self, value):
        with pytest.raises(
            WeightsError, match=r"^recurrent_activation is .*: expected one of celu"
        ):
            read(entry("GRU", activation="tanh", recurrent_activation=value))

    @pytest.mark.parametrize("version", ["1.2.2", "2.2.4-tf", "2.15.0", "3.0.0"])
    def test_hard_sigmoid(self, version):
        layer = entry("GRU", activation="hard_sigmoid", recurrent_activation="hard_sigmoid")
        (cell,) = read(layer, version=version).cells
        expected = "hard_sigmoid" if version[0] == "3" else "hard_sigmoid_keras2"
        assert cell.activation == cell.recurrent_activation == expected

    def test_leaky_relu_means_a_slope_of_a_fifth_in_keras_3_alone(self):
        layer = entry("GRU", activation="leaky_relu", recurrent_activation="sigmoid")
        assert read(layer).cells[0].activation == "leaky_relu"
        with pytest.raises(WeightsError, match=r"^activation is 'leaky_relu': expected one of"):
            read(layer, version="2.15.0")
        with pytest.raises(WeightsError, match="'leaky_relu' of an unknown version of Keras"):
            read(layer, version=None)

    def test_hard_sigmoid_of_an_unknown_version(self):
        layer = entry("GRU", activation="tanh", recurrent_activation="hard_sigmoid")
        with pytest.raises(WeightsError, match="'hard_sigmoid' of an unknown version of Keras"):
            read(layer, version=None)
        assume = {"recurrent_activation": "hard_sigmoid_keras2"}
        (cell,) = read(layer, version=None, assume=assume).cells
        assert cell.recurrent_activation == "hard_sigmoid_keras2"

    def test_the_caller_cannot_contradict(self):
        with pytest.raises(WeightsError, match=r"^activation is 'tanh' in the file"):
            read(_GRU, assume={"activation": "relu"})


_USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid", "units": 4}
_CELL, _GRU = entry("GRUCell", **_USUAL), entry("GRU", **_USUAL)


def _both(layer, backward=None, **options):
    backward = {} if backward is None else {"backward_layer": backward}
    return entry("Bidirectional", layer=layer, **backward, **options)


class TestLayers:
    def test_defaults_of_what_is_not_read(self):
        (cell,) = read(_GRU).cells
        found = (cell.units, cell.use_bias, cell.reset_after, cell.array_count)
        assert found == (4, True, False, 3)

    def test_stacks(self):
        for cell in ([_CELL, _CELL], entry("StackedRNNCells", cells=[_CELL, _CELL])):
            layer = read(entry("RNN", cell=cell, go_backwards=True))
            assert [len(side) for side in layer.sides] == [2]
            assert layer.is_backward

    def test_both_directions_of_one_configuration(self):
        layer = read(_both(_GRU, merge_mode=None))
        assert len(layer.sides) == 2
        assert layer.sides[0] == layer.sides[1]
        assert layer.merge is None

    def test_a_backward_layer_of_its_own(self):
        backward = entry("GRU", **(_USUAL | {"activation": "relu"}), go_backwards=True)
        layer = read(_both(_GRU, backward))
        assert [cell.activation for cell in layer.cells] == ["tanh", "relu"]
        assert layer.merge == "concat"

    @pytest.mark.parametrize(
        ("option", "note"),
        [
            ("go_backwards", "last step first"),
            ("time_major", "time_major=True"),
            ("zero_output_for_mask", "zero_masked=True"),
        ],
    )
    def test_notes(self, option, note):
        assert note in read(entry("GRU", **_USUAL, **{option: True})).notes[0]

    def test_training_is_passed_over(self):
        options = {"dropout": 0.5, "stateful": True, "unroll": True, "kernel_constraint": {"a": 1}}
        assert read(entry("GRU", **_USUAL, **options)) == read(entry("GRU", **_USUAL))

    @pytest.mark.parametrize(
        "layer",
        [
            entry("Dense", units=4),
            entry("LSTM", **_USUAL),
            entry("Bidirectional", layer=entry("LSTM", **_USUAL)),
            entry("RNN", cell=entry("LSTMCell", **_USUAL)),
            entry("TimeDistributed", layer=entry("GRU", **_USUAL)),
            entry("GRU", registered_name="Custom>GRU", **_USUAL),
            entry("Custom>GRU", **_USUAL),
            entry("MyLayer", layers=[64, 32], layer="what", cells={"a": 1}, cell=None),
            {"class_name": "MyLayer", "config": "none"},
        ],
        ids=lambda layer: f"{layer['class_name']} {layer.get('registered_name')}",
    )
    def test_no_gru(self, layer):
        assert read(layer) is None

    def test_layers_within_wrappers(self):
        wrapper = entry("TimeDistributed", layer=entry("GRU", **_USUAL))
        (outer,) = model_of(entry("Sequential", layers=[wrapper])).inner
        assert [inner.class_name for inner in outer.inner] == ["GRU"]

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (entry("GRU", **_USUAL, use_bias="yes"), "use_bias is 'yes': expected true or false"),
            (entry("GRU", **_USUAL | {"units": 0}), "units is 0: expected a number, at least 1"),
            (entry("GRU", **_USUAL | {"units": True}), "units is True: expected a number"),
            (
                entry("RNN", cell=[_CELL, entry("LSTMCell", **_USUAL)]),
                "it has a cell of class 'LSTMCell': expected GRUCell alone",
            ),
            (
                entry("RNN", cell=entry("ResidualWrapper", cell=_CELL)),
                "it has a cell of class 'ResidualWrapper': expected GRUCell alone",
            ),
            (
                _both(_GRU, entry("LSTM", **_USUAL, go_backwards=True)),
                "its directions are 'GRU and LSTM': expected GRUs in both",
            ),
            (
                _both(entry("GRU", **_USUAL, go_backwards=True)),
                "its forward layer has go_backwards=True: expected False",
            ),
            (_both(_GRU, _GRU), "its backward layer has go_backwards=False: expected True"),
            (_both(_GRU, merge_mode="max"), "merge_mode is 'max': expected one of"),
            (_both([_GRU] * 3), "it has 3 directions: expected two"),
        ],
    )
    def test_refused(self, layer, message):
        with pytest.raises(WeightsError, match=message):
            read(layer)
