"""``jaxgru inspect`` and ``jaxgru convert``, help and version.

The oracles are NumPy's minimum, maximum, mean and norm, of which the table shows five digits, and
the arrays in the files, bit for bit.
"""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import cases
import fresh
import jax
import nets
import numpy as np
import pytest

import jaxgru
from jaxgru._cli import command as cli
from jaxgru._net import unroll


@pytest.fixture
def weights(key, run):
    """A weights file, 2 inputs and 3 units, of the kind both equations can hold; its arrays."""
    jaxgru.save(cases.random_params(key, 2, 3, biases="input bias"), "weights.npz")
    return np.load("weights.npz")


def test_inspect_shows_what_the_file_holds_and_each_gates_numbers(done, weights):
    output = done("inspect", "weights.npz")
    assert output.startswith("weights.npz: a GRU layer, format npz\n")
    assert dict(line.split(maxsplit=1) for line in output.splitlines()[2:9]) == {
        "inputs": "2",
        "units": "3",
        "variant": "reset gate applied after the recurrent product (reset_after=True)",
        "activations": "tanh (candidate), sigmoid (gates)",
        "biases": "bias, recurrent_bias",
        "dtype": "float32",
        "parameters": "63",
    }
    rows = _table(output)
    assert len(rows) == 12
    for gate, block in {
        ("kernel", "reset"): weights["wMatrix"][:, 3:6],
        ("recurrent_kernel", "candidate"): weights["uMatrix"][:, 6:9],
        ("bias", "update"): weights["biases"][0, 0:3],
    }.items():
        expected = [block.min(), block.max(), block.mean(), np.sqrt(np.sum(block**2))]
        np.testing.assert_allclose(rows[gate], expected, rtol=1e-4)


NETS = {
    "concat": "a bidirectional GRU layer (merge concat)",
    "bidirectional stack": "a stack of 3: a bidirectional GRU layer (merge concat), a bidirectional"
    " GRU layer (merge sum), a GRU layer",
    "stacks in both directions": "a bidirectional net (merge concat) of a stack of 2 GRU layers "
    "forward, a stack of 2: a GRU layer, a bidirectional GRU layer (merge concat) backward",
    "backward": "a GRU layer from the last step to the first",
}


@pytest.mark.parametrize("name", NETS)
def test_inspect_describes_and_plots_a_net(key, done, name):
    net = nets.random_net(key, name)
    jaxgru.save(net, "net.safetensors")
    plot = ["--plot", "net.png"] if name == "concat" else []
    output = done("inspect", "net.safetensors", *plot)
    lines = output.splitlines()
    assert lines[0] == f"net.safetensors: {NETS[name]}, format safetensors"
    places = [line for line in lines[1:] if line.startswith("net")]
    assert places == ([] if name == "backward" else [layer.place for layer in unroll(net)])
    assert output.count("\narray ") == len(unroll(net))
    if plot:
        assert lines[-1] == "heat maps: net.png"
        assert Path("net.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("default")
def test_inspect_warns_of_nan_and_counts_it(key, run):
    params = jax.tree.map(np.array, cases.random_params(key, 2, 3))
    params.kernel[0, 0:2] = np.nan
    params.kernel[0, 3:6] = np.inf
    params.kernel[1, 3:6] = -np.inf
    jaxgru.save(params, "weights.npz")
    code, output, errors = run("inspect", "weights.npz")
    assert code == 0
    assert errors == ["warning: weights.npz: kernel has 2 NaN and 6 Inf among its 18 numbers"]
    rows = _table(output)
    assert rows["kernel", "update"][4:] == [2, 0]
    np.testing.assert_allclose(rows["kernel", "update"][0], np.nanmin(params.kernel[:, :3]), 1e-4)
    # Nothing is left to take a minimum of.
    assert rows["kernel", "reset"] == [None, None, None, None, 0, 6]
    assert rows["bias", "update"][4:] == [0, 0]


@pytest.mark.filterwarnings("default:.*does not show that the outputs of 'a' are the inputs of 'b'")
def test_layers_of_a_file_make_a_stack(run):
    def done(*arguments):
        code, output, errors = run(*arguments)
        # One way and one check: as --layer a+b, which says what the file does not show.
        notes = [error for error in errors if "are the inputs of 'b'" in error]
        assert (code, errors, len(notes)) == (0, notes, int("--layer" in arguments))
        return output

    rng, arrays = np.random.default_rng(0), {}
    for name, inputs, units in (("a", 2, 3), ("b", 3, 4)):  # as PyTorch names them
        for kind, size in (("ih", inputs), ("hh", units)):
            arrays[f"{name}.weight_{kind}_l0"] = rng.normal(size=(3 * units, size))
            arrays[f"{name}.bias_{kind}_l0"] = rng.normal(size=3 * units)
    np.savez("two.npz", **arrays)
    assert done("inspect", "two.npz").startswith("two.npz: 2 GRUs, format npz\n\na: a GRU layer: ")
    chosen, described = ("--layer", "a", "--layer", "b"), "a stack of 2 GRU layers"
    output = done("inspect", "two.npz", *chosen)
    assert output.startswith(f"two.npz: {described}, format npz\n")
    output = done("convert", "two.npz", "stack.safetensors", *chosen)
    assert output.startswith(f"two.npz -> stack.safetensors: {described}: 2 inputs, 4 outputs, ")
    for side, layer in zip("ab", jaxgru._weights.io.read("stack.safetensors"), strict=True):
        expected = arrays[f"{side}.weight_ih_l0"][: layer.hidden_size].T  # PyTorch's first is r
        np.testing.assert_array_equal(np.split(layer.kernel, 3, axis=1)[1], expected)
    message = "net[0] has 4 outputs and net[1] has 2 inputs: expected equal sizes"
    wrong = run("inspect", "two.npz", "--layer", "b", "--layer", "a")
    assert wrong == (2, "", [f"error: two.npz: 'b' and 'a' are not a net: {message}"])
    _, _, (error,) = run("inspect", "two.npz", "--plot", "two.png")
    assert error.startswith("error: two.npz: it contains 2 GRUs: expected --layer, one of 'a', 'b'")
    del arrays["a.weight_hh_l0"]
    np.savez("one.npz", **arrays)
    assert "\na: refused, weight_hh_l0 is missing" in done("inspect", "one.npz")


def test_convert_to_the_notebooks_equations_and_back(done, weights):
    output = done("convert", "weights.npz", "there.npz", "--to-equations", "notebook")
    assert output == (
        "weights.npz -> there.npz (notebook equations): "
        "a GRU layer: 2 inputs, 3 outputs, 63 parameters, float32\n"
    )
    converted = np.load("there.npz")
    np.testing.assert_array_equal(converted["wMatrix"][:, :3], -weights["wMatrix"][:, :3])
    np.testing.assert_array_equal(converted["wMatrix"][:, 3:], weights["wMatrix"][:, 3:])
    done("convert", "there.npz", "back.npz", "--from-equations", "notebook")
    for key, array in np.load("back.npz").items():
        np.testing.assert_array_equal(array, weights[key])


@pytest.mark.filterwarnings("default")
def test_what_a_file_has_can_be_contradicted(run, weights):
    code, _, errors = run(
        "convert", "weights.npz", "net.safetensors", "--override", "reset_after=false"
    )
    assert (code, jaxgru.load("net.safetensors").reset_after) == (0, False)
    assert errors == [
        "warning: weights.npz: reset_after is True in the file: changed to False by --override"
    ]


def test_what_a_file_leaves_out_can_be_assumed(done, weights):
    assumed = ("--assume", "activation=relu", "--assume", "reverse=True")
    done("convert", "weights.npz", "net.safetensors", *assumed)
    net = jaxgru.load("net.safetensors")
    assert isinstance(net, jaxgru.Backward)
    assert net.net.activation == "relu"


def test_inspect_shows_what_a_layer_has_not(key, done):
    jaxgru.save(cases.random_params(key, 2, 3, biases="no bias", clip=0.5), "net.safetensors")
    output = done("inspect", "net.safetensors")
    assert "\nbiases       none\n" in output
    assert "\nclip         0.5\n" in output
    assert {name for name, _ in _table(output)} == {"kernel", "recurrent_kernel"}


def test_convert_keeps_float64(done, weights):
    arrays = {key: array * np.float64(1 / 3) for key, array in weights.items()}
    np.savez_compressed("in.npz", **arrays)
    output = done("convert", "in.npz", "out.npz")
    assert output.endswith("float64\n")
    for key, array in np.load("out.npz").items():
        assert array.tobytes() == arrays[key].tobytes()


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(weights):
    command = [sys.executable, "-m", "jaxgru", "inspect", "weights.npz"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        # 128 + SIGPIPE, as a shell reports it.
        assert process.wait() == 141


@pytest.mark.slow
def test_inspect_loads_no_optional_library(weights):
    program = (
        "import sys, jaxgru._cli.command; jaxgru._cli.command.main(sys.argv[1:]);"
        "print({'matplotlib', 'tqdm', 'keras', 'torch', 'onnx'} & {*sys.modules})"
    )
    printed = fresh.python("-c", program, "inspect", "weights.npz")
    assert printed.splitlines()[-1] == "set()"


def test_help_shows_how_and_the_version_needs_no_installation(capsys, monkeypatch):
    def fail(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", fail)
    printed = {}
    for arguments in ("--help", "inspect --help", "convert --help", "--version"):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments.split())
        assert stopped.value.code == 0
        printed[arguments] = capsys.readouterr().out
    assert "jaxgru inspect GRUMatrices.npz --plot weights.png" in "".join(printed.values())
    assert "--to-equations notebook" in printed["convert --help"]
    # The second part depends on the machine.
    start = f"jaxgru {re.escape(jaxgru.__version__)}, "
    assert re.fullmatch(
        start + r"(native loops, \w+, threads: \d+|scans \(.+\))\n", printed["--version"]
    )


def _table(output):
    """Return the numbers of the table's rows, by array and gate: - is None."""
    lines = output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("array "))
    columns = ["min", "max", "mean", "norm", "NaN", "Inf"]
    count = sum(name in lines[start].split() for name in columns)
    return {
        tuple(line.split()[:2]): [
            None if cell == "-" else float(cell) for cell in line.split()[-count:]
        ]
        for line in lines[start + 1 :]
        if line
    }
