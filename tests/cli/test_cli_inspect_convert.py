"""The command line's frame, and its subcommands inspect and convert."""

import importlib.metadata
import subprocess
import sys

import cases
import jax
import nets
import numpy as np
import pytest

import jaxgru
from jaxgru import cli
from jaxgru.layers import layers


@pytest.fixture
def weights(key, tmp_path):
    """The path of a weights file, 2 inputs and 3 units, of the kind both equations can hold."""
    params = cases.random_params(key, 2, 3, biases="input bias")
    jaxgru.save(params, tmp_path / "weights.npz")
    return tmp_path / "weights.npz"


@pytest.fixture
def run(capsys):
    """Run the command line in this process: its exit code, output and error lines."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


def test_inspect_says_what_the_file_holds(run, weights):
    code, output, errors = run("inspect", weights)
    assert (code, errors) == (0, [])
    assert output.startswith(f"{weights}: a GRU layer, format npz\n")
    summary = dict(line.split(maxsplit=1) for line in output.splitlines()[2:9])
    assert summary == {
        "inputs": "2",
        "units": "3",
        "variant": "reset gate applied after the recurrent product (reset_after=True)",
        "activations": "tanh (candidate), sigmoid (gates)",
        "biases": "bias, recurrent_bias",
        "dtype": "float32",
        "parameters": "63",
    }


def test_inspect_shows_each_gates_numbers(run, weights):
    arrays = np.load(weights)
    blocks = {
        ("kernel", "reset"): arrays["wMatrix"][:, 3:6],
        ("recurrent_kernel", "candidate"): arrays["uMatrix"][:, 6:9],
        ("bias", "update"): arrays["biases"][0, 0:3],
    }
    _, output, _ = run("inspect", weights)
    rows = _table(output)
    assert len(rows) == 12
    for gate, block in blocks.items():
        block = block.astype(np.float64)
        expected = [block.min(), block.max(), block.mean(), np.sqrt(np.sum(block**2))]
        # The table shows five digits.
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
def test_inspect_describes_a_net_as_a_net(key, run, tmp_path, name):
    net = nets.random_net(key, name)
    jaxgru.save(net, tmp_path / "net.safetensors")
    code, output, errors = run("inspect", tmp_path / "net.safetensors")
    assert (code, errors) == (0, [])
    lines = output.splitlines()
    assert lines[0] == f"{tmp_path / 'net.safetensors'}: {NETS[name]}, format safetensors"
    places = [line for line in lines if line.startswith("net")]
    assert places == ([] if name == "backward" else [place for place, _ in layers(net)])
    assert output.count("\narray ") == len(layers(net))


def test_inspect_plots_a_net(key, run, tmp_path):
    pytest.importorskip("matplotlib")
    jaxgru.save(nets.random_net(key, "concat"), tmp_path / "net.safetensors")
    code, output, _ = run("inspect", tmp_path / "net.safetensors", "--plot", tmp_path / "net.png")
    assert code == 0
    assert output.endswith(f"heat maps: {tmp_path / 'net.png'}\n")
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("default")
def test_inspect_warns_of_nan_and_counts_it(key, run, tmp_path):
    params = jax.tree.map(np.array, cases.random_params(key, 2, 3))
    params.kernel[0, 0:2] = np.nan
    params.kernel[0, 3:6] = np.inf
    params.kernel[1, 3:6] = -np.inf
    jaxgru.save(params, tmp_path / "weights.npz")
    code, output, errors = run("inspect", tmp_path / "weights.npz")
    assert code == 0
    path = tmp_path / "weights.npz"
    assert errors == [f"jaxgru: warning: {path}: kernel holds 2 NaN and 6 Inf among its 18 numbers"]
    rows = _table(output)
    assert rows["kernel", "update"][4:] == [2, 0]
    np.testing.assert_allclose(rows["kernel", "update"][0], np.nanmin(params.kernel[:, :3]), 1e-4)
    # Nothing is left to take a minimum of.
    assert rows["kernel", "reset"] == [None, None, None, None, 0, 6]
    assert rows["bias", "update"][4:] == [0, 0]


def test_layers_of_a_file_make_a_stack(run, tmp_path):
    rng, arrays = np.random.default_rng(0), {}
    for name, inputs, units in (("a", 2, 3), ("b", 3, 4)):  # as PyTorch names them
        for kind, size in (("ih", inputs), ("hh", units)):
            arrays[f"{name}.weight_{kind}_l0"] = rng.normal(size=(3 * units, size))
            arrays[f"{name}.bias_{kind}_l0"] = rng.normal(size=3 * units)
    source, target = tmp_path / "two.npz", tmp_path / "stack.safetensors"
    np.savez(source, **arrays)
    assert run("inspect", source)[1].startswith(f"{source}: 2 GRUs, format npz\n\na: a GRU layer: ")
    chosen = "--layer", "a", "--layer", "b"
    described = "a stack of 2 GRU layers"
    assert run("inspect", source, *chosen)[1].startswith(f"{source}: {described}, format npz\n")
    code, output, errors = run("convert", source, target, *chosen)
    assert (code, errors) == (0, [])
    assert output.startswith(f"{source} -> {target}: {described}: 2 inputs, 4 outputs, ")
    for side, layer in zip("ab", jaxgru.weights.read(target), strict=True):
        expected = arrays[f"{side}.weight_ih_l0"][: layer.hidden_size].T  # PyTorch's first is r
        np.testing.assert_array_equal(np.split(layer.kernel, 3, axis=1)[1], expected)
    code, output, errors = run("inspect", source, "--layer", "b", "--layer", "a")
    message = "net[0] gives 4 outputs and net[1] takes 2 inputs: expected the same"
    assert (code, output, errors) == (2, "", [f"jaxgru: error: {source}: {message}"])


def test_convert_to_the_notebooks_equations_and_back(run, weights, tmp_path):
    there, back = tmp_path / "there.npz", tmp_path / "back.npz"
    code, output, errors = run("convert", weights, there, "--to-equations", "notebook")
    assert (code, errors) == (0, [])
    assert output == (
        f"{weights} -> {there} (notebook equations): "
        "a GRU layer: 2 inputs, 3 outputs, 63 parameters, float32\n"
    )
    given, converted = np.load(weights), np.load(there)
    np.testing.assert_array_equal(converted["wMatrix"][:, :3], -given["wMatrix"][:, :3])
    np.testing.assert_array_equal(converted["wMatrix"][:, 3:], given["wMatrix"][:, 3:])
    assert run("convert", there, back, "--from-equations", "notebook")[0] == 0
    for key, array in np.load(back).items():
        np.testing.assert_array_equal(array, given[key])


def test_convert_keeps_float64(run, weights, tmp_path):
    arrays = {key: array * np.float64(1 / 3) for key, array in np.load(weights).items()}
    np.savez_compressed(tmp_path / "in.npz", **arrays)
    code, output, errors = run("convert", tmp_path / "in.npz", tmp_path / "out.npz")
    assert (code, errors) == (0, [])
    assert output.endswith("float64\n")
    for key, array in np.load(tmp_path / "out.npz").items():
        assert array.tobytes() == arrays[key].tobytes()


def test_convert_refuses_what_it_cannot_hold_and_leaves_the_old_file(key, run, tmp_path):
    jaxgru.save(cases.random_params(key, 2, 3), tmp_path / "in.npz")
    out = tmp_path / "out.npz"
    out.write_text("old")
    code, output, errors = run("convert", tmp_path / "in.npz", out, "--to-equations", "notebook")
    assert (code, output) == (2, "")
    (line,) = errors
    assert line.startswith(f"jaxgru: error: {out} was not written: the recurrent bias of the cand")
    assert out.read_text() == "old"


_BAD_USE = {
    "no subcommand": ([], "SUBCOMMAND (see jaxgru --help)"),
    "an unknown one": (["train"], "invalid choice: 'train'"),
    "no file": (["inspect"], "required: FILE (see jaxgru inspect --help)"),
    "a missing file": (["inspect", "{}/none.npz"], "{}/none.npz: No such file or directory"),
    "a directory": (["inspect", "{}"], "{}: it is a directory: expected a file of weights"),
    "a text": (["inspect", "{}/text.npz"], "{}/text.npz: it begins with b'wMatrix': expected"),
    "unknown equations": (
        ["convert", "a", "b", "--to-equations", "tf"],
        "--to-equations: invalid choice: 'tf'",
    ),
    "an unknown format": (
        ["convert", "{}/weights.npz", "{}/out.h5"],
        "{}/out.h5 was not written: its name ends in '.h5': expected .",
    ),
    "a missing folder": (
        ["convert", "{}/weights.npz", "{}/none/out.npz"],
        "{}/none/out.npz: its folder is missing",
    ),
    "an unknown picture": (
        ["inspect", "{}/weights.npz", "--plot", "{}/a.xyz"],
        "{}/a.xyz: its ending is '.xyz', expected a picture",
    ),
}


@pytest.mark.parametrize("name", _BAD_USE)
def test_an_error_is_one_line_and_exit_code_2(run, weights, name):
    if name == "an unknown picture":
        pytest.importorskip("matplotlib")
    arguments, reason = _BAD_USE[name]
    folder = weights.parent
    (folder / "text.npz").write_text("wMatrix")
    code, _, errors = run(*(argument.format(folder) for argument in arguments))
    assert code == 2
    (line,) = errors
    assert line.startswith("jaxgru: error: ")
    assert reason.format(folder) in line
    assert {path.name for path in folder.iterdir()} == {"text.npz", "weights.npz"}


def test_debug_gives_the_traceback(run, tmp_path):
    for arguments in (["--debug", "inspect"], ["inspect", "--debug"]):
        code, _, errors = run(*arguments, tmp_path / "none.npz")
        assert code == 2
        assert errors[0] == "Traceback (most recent call last):"
        assert errors[-1].startswith("jaxgru: error: ")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyError("x"), 2, "jaxgru: error: KeyError: 'x' (--debug shows where)"),
        (KeyboardInterrupt(), 130, "jaxgru: interrupted"),  # 128 + SIGINT, as a shell reports it
    ],
)
def test_what_was_not_foreseen_is_one_line(run, weights, monkeypatch, error, code, line):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr("jaxgru.cli.inspect.read_all", fail)
    assert run("inspect", weights)[::2] == (code, [line])


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(weights):
    command = [sys.executable, "-m", "jaxgru", "inspect", weights]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        # 128 + SIGPIPE, as a shell reports it.
        assert process.wait() == 141


def test_help_shows_how(capsys):
    for arguments in (["--help"], ["inspect", "--help"], ["convert", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        assert stopped.value.code == 0
    output = capsys.readouterr().out
    assert "jaxgru inspect GRUMatrices.npz --plot weights.png" in output
    assert "--to-equations notebook" in output


@pytest.mark.slow
def test_inspect_loads_no_optional_library(weights):
    program = (
        "import sys, jaxgru.cli; jaxgru.cli.main(sys.argv[1:]);"
        "print({'matplotlib', 'tqdm', 'keras', 'torch', 'onnx'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", program, "inspect", weights]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_version_needs_no_installation(capsys, monkeypatch):
    def fail(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", fail)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"jaxgru {jaxgru.__version__}\n"


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
