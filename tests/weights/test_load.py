"""Files of several GRUs: picked by name, listed, what they leave unsaid, what is refused."""

import re
import warnings

import cases
import chex
import jax
import numpy as np
import pytest

import jaxgru
from jaxgru import cli


def _torch_names(key, prefix, inputs, units):
    """Return the arrays of a PyTorch GRU under its names."""
    shapes = {
        "weight_ih_l0": (3 * units, inputs),
        "weight_hh_l0": (3 * units, units),
        "bias_ih_l0": (3 * units,),
        "bias_hh_l0": (3 * units,),
    }
    keys = jax.random.split(key, len(shapes))
    return {
        prefix + name: np.array(jax.random.normal(k, shape))
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


@pytest.fixture
def several(key, tmp_path):
    """A file of two GRUs and a third that no net can hold."""
    arrays = _torch_names(key, "decoder.rnn.", 3, 4) | _torch_names(key, "encoder.rnn.", 2, 3)
    broken = _torch_names(key, "broken.", 2, 3)
    del broken["broken.weight_hh_l0"]
    np.savez(tmp_path / "several.npz", **arrays, **broken)
    return tmp_path / "several.npz"


@pytest.fixture
def two(key, tmp_path):
    arrays = _torch_names(key, "rnn_2.", 3, 4) | _torch_names(key, "rnn_10.", 2, 3)
    np.savez(tmp_path / "two.npz", **arrays)
    return tmp_path / "two.npz"


def test_every_gru_by_its_own_name(two):
    nets = jaxgru.load_all(two)
    assert list(nets) == ["rnn_2", "rnn_10"]
    for name, net in nets.items():
        chex.assert_trees_all_equal(jaxgru.load(two, layer=name), net)
    assert [net.input_size for net in nets.values()] == [3, 2]


def test_several_are_listed_where_none_is_picked(several):
    names = "'decoder.rnn', 'encoder.rnn', 'broken'"
    said = re.escape(f"{several}: it holds 3 GRUs: expected layer=, one of {names}")
    with pytest.raises(jaxgru.WeightsError, match=said):
        jaxgru.load(several)
    said = re.escape(f"{several}: layer is 'rnn': expected one of {names}")
    with pytest.raises(jaxgru.WeightsError, match=said):
        jaxgru.load(several, layer="rnn")


def test_one_that_cannot_be_held_leaves_its_neighbours_alone(several):
    assert jaxgru.load(several, layer="encoder.rnn").hidden_size == 3
    for load in (jaxgru.load_all, lambda path: jaxgru.load(path, layer="broken")):
        with pytest.raises(jaxgru.WeightsError, match=re.escape(f"{several}: broken: ")):
            load(several)


@pytest.fixture
def silent(key, tmp_path):
    """A file that does not say its activations: a Flax cell's parameters."""
    arrays = {}
    for i, (gate, bias) in enumerate(
        {"ir": True, "iz": True, "in": True, "hr": False, "hz": False, "hn": True}.items()
    ):
        rows = 2 if gate.startswith("i") else 3
        arrays[f"cell/{gate}/kernel"] = jax.random.normal(jax.random.fold_in(key, i), (rows, 3))
        if bias:
            arrays[f"cell/{gate}/bias"] = jax.random.normal(jax.random.fold_in(key, 9 + i), (3,))
    np.savez(tmp_path / "flax.npz", **{name: np.asarray(value) for name, value in arrays.items()})
    return tmp_path / "flax.npz"


def test_what_is_assumed_is_said_and_can_be_said_otherwise(silent):
    said = "does not say activation, recurrent_activation, reverse: 'tanh', 'sigmoid', False are as"
    with pytest.warns(jaxgru.WeightsWarning, match=said) as caught:
        usual = jaxgru.load(silent)
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        other = jaxgru.load(
            silent,
            assume={
                "activation": "relu",
                "recurrent_activation": "hard_sigmoid",
                "reverse": True,
            },
        )
    assert (usual.activation, usual.recurrent_activation) == ("tanh", "sigmoid")
    assert isinstance(other, jaxgru.Backward)
    assert (other.net.activation, other.net.recurrent_activation) == ("relu", "hard_sigmoid")


@pytest.mark.parametrize(
    ("assume", "message"),
    [
        ({"activations": "relu"}, "assume names 'activations': expected activation, recurrent_"),
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


class TestCommandLine:
    """The same from the command line."""

    def test_inspect_lists_several(self, several, capsys):
        assert cli.main(["inspect", str(several)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{several}: 3 GRUs, format npz"
        assert lines[2:4] == [
            "decoder.rnn: a layer: 3 inputs, 4 outputs, 108 parameters, float32",
            "encoder.rnn: a layer: 2 inputs, 3 outputs, 63 parameters, float32",
        ]
        assert lines[4].startswith("broken: refused, ")

    def test_inspect_shows_one_of_several(self, several, capsys):
        assert cli.main(["inspect", str(several), "--layer", "encoder.rnn"]) == 0
        output = capsys.readouterr().out
        assert f"{several}: a GRU layer, format npz\n\ninputs       2\n" in output

    def test_inspect_shows_each_layer_of_a_net(self, key, tmp_path, capsys):
        sides = [cases.random_params(k, 2, 3) for k in jax.random.split(key)]
        path = tmp_path / "both.safetensors"
        jaxgru.save(jaxgru.Bidirectional(*sides, "sum"), path)
        assert cli.main(["inspect", str(path)]) == 0
        output = capsys.readouterr().out
        assert "a layer in both directions (merge sum): 2 inputs, 3 outputs, 126 param" in output
        assert output.index("\nnet.forward\n") < output.index("\nnet.backward\n")

    def test_convert_takes_one_of_several_to_another_format(self, several, tmp_path, capsys):
        target = tmp_path / "encoder.safetensors"
        code = cli.main(["convert", str(several), str(target), "--layer", "encoder.rnn"])
        assert code == 0, capsys.readouterr().err
        chex.assert_trees_all_equal(jaxgru.load(target), jaxgru.load(several, layer="encoder.rnn"))

    def test_convert_to_a_format_by_name(self, several, tmp_path):
        target = tmp_path / "encoder.safetensors"
        options = ["--layer", "encoder.rnn", "--to", "torch-safetensors"]
        assert cli.main(["convert", str(several), str(target), *options]) == 0
        chex.assert_trees_all_equal(jaxgru.load(target), jaxgru.load(several, layer="encoder.rnn"))

    @pytest.mark.filterwarnings("default")
    def test_assumptions_are_warned_of_until_they_are_given(self, silent, tmp_path, capsys):
        target = str(tmp_path / "out.safetensors")
        assert cli.main(["convert", str(silent), target]) == 0
        assert "jaxgru: warning: " in capsys.readouterr().err
        said = ["activation=relu", "recurrent_activation=sigmoid", "reverse=false"]
        options = [word for assumption in said for word in ("--assume", assumption)]
        assert cli.main(["convert", str(silent), target, *options]) == 0
        assert capsys.readouterr().err == ""
        assert jaxgru.load(target).activation == "relu"

    def test_a_bad_assumption_is_one_line(self, silent, capsys):
        assert cli.main(["inspect", str(silent), "--assume", "activation=swish"]) == 2
        error = capsys.readouterr().err
        assert "'activation=swish' given: assume['activation'] is 'swish'" in error
        assert error.count("\n") == 1

    def test_run_goes_backward_over_a_backward_net(self, key, tmp_path, capsys):
        net = jaxgru.Backward(cases.random_params(key, 2, 3))
        jaxgru.save(net, tmp_path / "net.safetensors")
        np.save(tmp_path / "xs.npy", xs := np.asarray(cases.random_inputs(key, (5, 2))))
        command = ["run", str(tmp_path / "net.safetensors"), str(tmp_path / "xs.npy")]
        assert cli.main([*command, "-o", str(tmp_path / "ys.npy")]) == 0
        # Compiled as two programs: a few roundings.
        np.testing.assert_allclose(np.load(tmp_path / "ys.npy"), jaxgru.gru(net, xs)[0], atol=1e-6)
        assert cli.main([*command, "--reverse"]) == 2
        assert "expected no --reverse" in capsys.readouterr().err

    def test_run_says_that_it_takes_one_layer(self, key, tmp_path, capsys):
        net = tuple(cases.random_params(k, 3, 3) for k in jax.random.split(key))
        jaxgru.save(net, tmp_path / "net.safetensors")
        np.save(tmp_path / "xs.npy", np.zeros((5, 3), np.float32))
        assert cli.main(["run", str(tmp_path / "net.safetensors"), str(tmp_path / "xs.npy")]) == 2
        error = capsys.readouterr().err
        assert "net is a tuple of 2: expected a single GRUParams, as run holds one layer" in error
