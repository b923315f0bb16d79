"""Files of several GRUs: picked by name, listed, what they leave unsaid, what is refused."""

import dataclasses
import re
import warnings

import cases
import chex
import golden_keras as golden
import jax
import numpy as np
import pytest

import jaxgru
from jaxgru._cli import command as cli


def _torch_names(prefix, inputs, units):
    """Return the arrays of a PyTorch GRU under its names."""
    rng, wide = np.random.default_rng(inputs), 3 * units
    shapes = {"weight_ih": (wide, inputs), "weight_hh": (wide, units), "bias_ih": wide}
    shapes["bias_hh"] = wide
    return {f"{prefix}{name}_l0": rng.normal(size=s).astype("f4") for name, s in shapes.items()}


@pytest.fixture
def several(tmp_path):
    """A file of two GRUs and a third that no net can hold."""
    arrays = _torch_names("decoder.rnn.", 3, 4) | _torch_names("encoder.rnn.", 2, 3)
    broken = _torch_names("broken.", 2, 3)
    del broken["broken.weight_hh_l0"]
    np.savez(tmp_path / "several.npz", **arrays, **broken)
    return tmp_path / "several.npz"


@pytest.fixture
def two(tmp_path):
    np.savez(tmp_path / "two.npz", **_torch_names("rnn_2.", 3, 4), **_torch_names("rnn_10.", 2, 3))
    return tmp_path / "two.npz"


def test_every_gru_by_its_own_name(two):
    nets = jaxgru.load_all(two)
    assert list(nets) == ["rnn_2", "rnn_10"]
    for name, net in nets.items():
        chex.assert_trees_all_equal(jaxgru.load(two, layer=name), net)
    assert [net.input_size for net in nets.values()] == [3, 2]


def test_several_are_listed_where_none_is_picked(several):
    names = "'decoder.rnn', 'encoder.rnn', 'broken'"
    for layer, reason in (
        (None, "it contains 3 GRUs: expected layer=, one of"),
        ("rnn", "layer is 'rnn': expected one of"),
    ):
        message = re.escape(f"{several}: {reason} {names}")
        with pytest.raises(jaxgru.WeightsError, match=message):
            jaxgru.load(several, layer=layer)


def test_one_that_cannot_be_held_leaves_its_neighbors_alone(several):
    assert jaxgru.load(several, layer="encoder.rnn").hidden_size == 3
    for load in (jaxgru.load_all, lambda path: jaxgru.load(path, layer="broken")):
        with pytest.raises(jaxgru.WeightsError, match=re.escape(f"{several}: broken: ")):
            load(several)


@pytest.fixture
def silent(tmp_path):
    """A file that does not specify its activations: a Flax cell's parameters."""
    kernels = {
        gate: (2 if gate[0] == "i" else 3, 3) for gate in ("ir", "iz", "in", "hr", "hz", "hn")
    }
    shapes = {f"cell/{gate}/kernel": shape for gate, shape in kernels.items()}
    shapes |= {f"cell/{gate}/bias": 3 for gate in ("ir", "iz", "in", "hn")}
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    np.savez(tmp_path / "flax.npz", **arrays)
    return tmp_path / "flax.npz"


def test_what_is_assumed_is_noted_and_can_be_assumed_otherwise(silent):
    note = "not specify activation, recurrent_activation, reverse: 'tanh', 'sigmoid', False are"
    for load in (jaxgru.load, jaxgru.load_all):
        with pytest.warns(jaxgru.WeightsWarning, match=note) as caught:
            load(silent)
        assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings(action="ignore"):
        usual = jaxgru.load(silent)
    assume = {"activation": "relu", "recurrent_activation": "hard_sigmoid", "reverse": True}
    with warnings.catch_warnings(action="error"):
        other = jaxgru.load(silent, assume=assume)
    assert (usual.activation, usual.recurrent_activation) == ("tanh", "sigmoid")
    assert isinstance(other, jaxgru.Backward)
    assert (other.net.activation, other.net.recurrent_activation) == ("relu", "hard_sigmoid")


@pytest.mark.parametrize(
    ("assume", "message"),
    [
        ({"activations": "relu"}, "assume has 'activations': expected activation, recurrent_"),
        ({"activation": "swish"}, "assume['activation'] is 'swish': expected one of 'tanh', "),
        ({"reset_after": "yes"}, "assume['reset_after'] is 'yes': expected one of True, False"),
    ],
)
def test_an_assumption_that_cannot_be(silent, assume, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jaxgru.load(silent, assume=assume)


def test_an_assumption_that_the_file_contradicts(two):
    with pytest.raises(jaxgru.WeightsError, match="reset_after is True in the file: expected"):
        jaxgru.load(two, layer="rnn_2", assume={"reset_after": False})


class TestOverride:
    """What contradicts a file: fields replaced in every layer, each with a warning."""

    def test_what_a_file_has(self, key, tmp_path):
        layer = cases.random_params(key, 3, 3)
        net = (jaxgru.Bidirectional(layer, layer, "sum"), layer)
        jaxgru.save(net, path := tmp_path / "net.safetensors")
        override = {"reset_after": False, "activation": "relu", "recurrent_activation": "sigmoid"}
        with pytest.warns(jaxgru.WeightsWarning) as caught:
            found = jaxgru.load(path, override=override | {"merge": "mul"})
        other = dataclasses.replace(layer, reset_after=False, activation="relu")
        chex.assert_trees_all_equal(found, (jaxgru.Bidirectional(other, other, "mul"), other))
        # One for each that the file contradicts, not for the gates' sigmoid.
        assert [str(warning.message).partition(": ")[2] for warning in caught] == [
            "reset_after is True in the file: changed to False by override",
            "activation is 'tanh' in the file: changed to 'relu' by override",
            "merge is 'sum' in the file: changed to 'mul' by override",
        ]
        assert {warning.filename for warning in caught} == {__file__}

    @pytest.mark.parametrize("reverse", [True, False])
    def test_direction(self, key, tmp_path, reverse):
        layer = cases.random_params(key, 2, 3)
        backward = jaxgru.Backward(layer)
        jaxgru.save(layer if reverse else backward, path := tmp_path / "net.safetensors")
        with pytest.warns(
            jaxgru.WeightsWarning, match=f"{not reverse} in the file: changed to {reverse}"
        ):
            found = jaxgru.load_all(path, override={"reverse": reverse})["gru"]
        chex.assert_trees_all_equal(found, backward if reverse else layer)

    def test_what_a_file_does_not_have_is_as_assumed(self, silent):
        override = {"activation": "relu", "recurrent_activation": "sigmoid", "reverse": True}
        with warnings.catch_warnings(action="error"):
            chex.assert_trees_all_equal(
                jaxgru.load(silent, override=override), jaxgru.load(silent, assume=override)
            )

    def test_misuse(self, two):
        for options, message in (
            ({"override": {"clip": 1}}, "override has 'clip': expected activation"),
            ({"override": {"activation": "swish"}}, "override['activation'] is 'swish': expected"),
            ({"override": {"merge": "sum"}}, "override has merge: expected fields that this GRU"),
            ({"override": {"reset_after": True}, "assume": {"reset_after": True}},
             "'reset_after' is in assume and in override"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=re.escape(message)):
                jaxgru.load(two, layer="rnn_2", **options)


def test_the_equations_apply_to_every_layer_of_a_net(key, tmp_path):
    net = tuple(cases.random_params(k, 3, 3, biases="input bias") for k in jax.random.split(key))
    path = tmp_path / "stack.safetensors"
    jaxgru.save(net, path, equations="notebook")
    chex.assert_trees_all_equal(jaxgru.load(path, equations="notebook"), net)
    stored = jaxgru.load(path)
    for layer, meant in zip(stored, net, strict=True):
        np.testing.assert_array_equal(layer.kernel[:, :3], -meant.kernel[:, :3])


def test_an_unknown_format_to_write(key, tmp_path):
    params = cases.random_params(key, 2, 3)
    with pytest.raises(ValueError, match=r"format is 'pickle': expected keras or keras-h5 or npz"):
        jaxgru.save(params, tmp_path / "net.npz", format="pickle")
    assert list(tmp_path.iterdir()) == []


class TestSeveralAsOneNet:
    """GRUs that follow one another, picked by their names joined, or all of them."""

    def test_layers_of_a_sequential_model(self, tmp_path):
        arrays = [golden.arrays(0), golden.arrays(1, inputs=4), golden.arrays(2, inputs=4)]
        path = _keras_model(tmp_path, ["GRU", "Dropout", "GRU", "Masking", "GRU"], arrays)
        all_of_them = "'gru_0', 'gru_2', 'gru_4'; or '*' for all of them as one stack"
        with pytest.raises(jaxgru.WeightsError, match=re.escape(all_of_them)):
            jaxgru.load(path)
        layers = tuple(jaxgru.load_all(path).values())
        with warnings.catch_warnings(action="error"):
            chex.assert_trees_all_equal(jaxgru.load(path, layer="*"), layers)
            chex.assert_trees_all_equal(jaxgru.load(path, layer="gru_2+gru_4"), layers[1:])
        for wrong in ("gru_0+gru_4", "gru_2+gru_0"):
            with pytest.raises(jaxgru.WeightsError, match=r"the inputs of 'gru_\d' are "):
                jaxgru.load(path, layer=wrong)
        with pytest.raises(jaxgru.WeightsError, match=r"layer is 'gru_0\+dense': expected one of"):
            jaxgru.load(path, layer="gru_0+dense")

    @pytest.mark.parametrize(
        ("between", "reason"),
        [
            ("LayerNormalization", "are the outputs of LayerNormalization between"),
            ("Custom>Dropout", "are the outputs of Custom>Dropout between"),
            ("last state", "are no sequence of gru_0 in the order of time"),
            ("backward", "are no sequence of gru_0 in the order of time"),
        ],
    )
    def test_what_changes_the_values_between(self, tmp_path, between, reason):
        options = {"last state": {"return_sequences": False}, "backward": {"go_backwards": True}}
        classes = ["GRU", *([] if between in options else [between]), "GRU"]
        arrays = [golden.arrays(0), golden.arrays(1, inputs=4)]
        path = _keras_model(tmp_path, classes, arrays, **options.get(between, {}))
        with (
            pytest.raises(jaxgru.WeightsError, match=re.escape(reason)),
            warnings.catch_warnings(action="ignore"),
        ):
            jaxgru.load(path, layer="*")

    def test_a_functional_model_by_the_calls_of_its_layers(self, tmp_path):
        grus = [golden.gru_config(f"gru_{i}") for i in range(3)]
        grus[1]["inbound_nodes"] = [_call("gru_0")]
        # Keras 2's form; and a second call would be of other inputs too.
        grus[2]["inbound_nodes"] = [[["gru_1", 0, 0, {}]]]
        arrays = [golden.arrays(0), golden.arrays(1, inputs=4), golden.arrays(2, inputs=4)]
        groups = golden.in_order(arrays)
        golden.write_keras(tmp_path / "model.keras", grus, groups)
        assert len(jaxgru.load(tmp_path / "model.keras", layer="*")) == 3
        first = ["gru_1", 0, 0, {}]
        two_calls, another_output = [[first], [["gru_0", 0, 0, {}]]], [[["gru_1", 0, 1, {}]]]
        for nodes, message in (
            (two_calls, "gru_2 is called several times: expected layer= with the names"),
            (another_output, "the inputs of 'gru_2' are no sequence of gru_1"),
        ):
            grus[2]["inbound_nodes"] = nodes
            golden.write_keras(tmp_path / "model.keras", grus, groups)
            with pytest.raises(jaxgru.WeightsError, match=message):
                jaxgru.load(tmp_path / "model.keras", layer="*")

    def test_where_the_file_has_no_order_of_its_layers(self, tmp_path):
        np.savez(tmp_path / "x.npz", **_torch_names("a.", 3, 4), **_torch_names("b.", 4, 2))
        with pytest.warns(jaxgru.WeightsWarning, match="does not show that the outputs of"):
            net = jaxgru.load(tmp_path / "x.npz", layer="a+b")
        assert [layer.hidden_size for layer in net] == [4, 2]
        with pytest.raises(jaxgru.WeightsError, match=r"'b' and 'a' are not a net: net\[0\] has 2"):
            jaxgru.load(tmp_path / "x.npz", layer="b+a")

    def test_on_the_command_line(self, tmp_path, capsys):
        arrays = [golden.arrays(0), golden.arrays(1, inputs=4)]
        path = _keras_model(tmp_path, ["GRU", "GRU"], arrays)
        target = str(tmp_path / "net.safetensors")
        assert cli.main(["convert", str(path), target]) == 2
        assert "expected --layer, one of 'gru_0', 'gru_1'; or '*' for" in capsys.readouterr().err
        assert cli.main(["convert", str(path), target, "--layer", "gru_0+gru_1"]) == 0
        assert len(jaxgru.load(target)) == 2


def _keras_model(folder, classes, arrays, **options):
    """Return the path of a Sequential model of layers of these classes."""
    layers = [
        golden.gru_config(f"gru_{i}", **options)
        if class_ == "GRU"
        else golden.layer_config(class_, f"between_{i}")
        for i, class_ in enumerate(classes)
    ]
    path, groups = folder / "model.keras", golden.in_order(arrays)
    golden.write_keras(path, layers, groups, class_name="Sequential")
    return path


def _call(name):
    history = {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
    return {"args": [history], "kwargs": {"mask": None}}


class TestLoadLayer:
    """The same as load for one layer, and an error for anything else."""

    def test_one_layer(self, two):
        chex.assert_trees_all_equal(
            jaxgru.load_layer(two, layer="rnn_2"), jaxgru.load(two, layer="rnn_2")
        )

    @pytest.mark.parametrize(
        ("wrap", "what"),
        [
            (jaxgru.Backward, "Backward"),
            (lambda layer: jaxgru.Bidirectional(layer, layer), "Bidirectional"),
            (lambda layer: (layer, layer), "tuple of 2"),
        ],
    )
    def test_another_net(self, key, tmp_path, wrap, what):
        path = tmp_path / "net.safetensors"
        jaxgru.save(wrap(cases.random_params(key, 4, 4)), path)
        with pytest.raises(jaxgru.WeightsError, match=f"net.safetensors: the GRU is a {what}: exp"):
            jaxgru.load_layer(path)

    def test_fields_and_warnings_as_load(self, two):
        leaky = jaxgru.Activation("leaky_relu", 0.5)
        with pytest.warns(jaxgru.WeightsWarning, match="activation is 'tanh' in the file"):
            layer = jaxgru.load_layer(two, layer="rnn_2", override={"activation": leaky})
        assert layer.activation == leaky
