"""``jaxgru export``: that every option arrives, and the line it prints."""

import cases
import jax
import jax.export
import numpy as np
import pytest

import jaxgru

pytest.importorskip("flatbuffers")


@pytest.fixture(autouse=True)
def weights(run):
    """A file of weights in float64."""
    params = cases.random_params(jax.random.key(0), 2, 3, biases="input bias")
    jaxgru.save(jax.tree.map(lambda x: np.asarray(x, np.float64), params), "weights.npz")


def test_stablehlo_with_every_option(done, tmp_path):
    options = ["--format", "stablehlo", "--streaming", "--lengths", "--time-major"]
    assert done("export", "weights.npz", "net", *options, "--platforms", "tpu,cpu") == (
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


def test_onnx_of_the_notebooks_equations(done, tmp_path):
    pytest.importorskip("onnx")
    options = ["--streaming", "--equations", "notebook"]
    assert done("export", "weights.npz", "net.onnx", *options).endswith(
        "x (batch, time, 2), initial_h (batch, 3) -> y (batch, time, 3), h (batch, 3)\n"
    )
    held = jaxgru._weights.io.read(tmp_path / "net.onnx")
    meant = jaxgru._weights.io.read(tmp_path / "weights.npz", equations="notebook")
    jax.tree.map(np.testing.assert_array_equal, held, meant)
