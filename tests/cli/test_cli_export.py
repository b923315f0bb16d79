"""``jaxgru export``: that every option arrives, the line it prints, and what it refuses."""

import cases
import jax
import jax.export
import numpy as np
import pytest

import jaxgru
from jaxgru import cli

pytest.importorskip("flatbuffers")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command beside a file of weights in float64; its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    params = cases.random_params(jax.random.key(0), 2, 3, biases="input bias")
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    jaxgru.save(params, "weights.npz")

    def run(*arguments):
        code = cli.main(["export", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run


def test_stablehlo_with_every_option(run, tmp_path):
    options = ["--format", "stablehlo", "--streaming", "--lengths", "--time-major"]
    code, output, errors = run("weights.npz", "net", *options, "--platforms", "tpu,cpu")
    assert (code, errors) == (0, [])
    assert output == (
        "weights.npz -> net: float64, x (time, batch, 2), lengths (batch), initial_h (batch, 3) "
        "-> y (time, batch, 3), h (batch, 3)\n"
    )
    exported = jax.export.deserialize((tmp_path / "net").read_bytes())
    assert set(exported.platforms) == {"tpu", "cpu"}
    assert [str(aval) for aval in exported.in_avals] == [
        "float64[time,batch,2]",
        "int32[batch]",
        "float64[batch,3]",
    ]


def test_onnx_of_the_notebooks_equations(run, tmp_path):
    pytest.importorskip("onnx")
    options = ["--streaming", "--equations", "notebook"]
    code, output, errors = run("weights.npz", "net.onnx", *options)
    assert (code, errors) == (0, [])
    assert output.endswith(
        "x (batch, time, 2), initial_h (batch, 3) -> y (batch, time, 3), h (batch, 3)\n"
    )
    held = jaxgru.weights.read(tmp_path / "net.onnx")
    meant = jaxgru.weights.read(tmp_path / "weights.npz", equations="notebook")
    jax.tree.map(np.testing.assert_array_equal, held, meant)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weights.npz"], "weights.npz: it is the input weights.npz: expected another output"),
        (["none/net.onnx"], "none/net.onnx: its folder is missing"),
        (["net.h5"], "net.h5 was not written: its name ends in '.h5': expected .onnx or .stable"),
        (["net.stablehlo", "--platforms", "gpu"], "platforms are ('gpu',): expected some of cpu"),
        (["net.onnx", "--platforms", "cuda"], "platforms is ('cuda',) for an ONNX model: exp"),
        (["net.onnx", "--layer", "x"], "weights.npz: layer is 'x': expected one of 'gru'"),
    ],
)
def test_an_error_is_one_line_and_leaves_nothing(run, tmp_path, arguments, message):
    code, output, errors = run("weights.npz", *arguments)
    assert (code, output) == (2, "")
    (line,) = errors
    assert line.startswith(f"jaxgru: error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]
