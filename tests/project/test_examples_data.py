"""The committed example: what Keras computed with the trained weights, jaxgru computes too."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxgru

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = EXAMPLES / "data"

# Both sides round to float32, 6e-8 at a state near 1, in sums of at most 13 terms a step, and the
# gates of this trained layer forget: the largest difference over the 100 steps is 2.1e-7 with JAX
# 0.10 and 3.0e-7 with JAX 0.12.
TOLERANCE = 1e-6


def test_equals_the_stored_output_of_keras():
    params = jaxgru.load(DATA / "gru.npz")
    ys, h = jaxgru.gru(params, np.load(DATA / "inputs.npy"))
    expected = np.load(DATA / "expected.npy")
    np.testing.assert_allclose(ys, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(h, expected[-1], rtol=0, atol=TOLERANCE)


def test_the_model_is_the_layer_and_the_readout():
    model, readout = jaxgru.load_model(DATA / "estimator.keras"), np.load(DATA / "readout.npz")
    inputs, states = np.load(DATA / "inputs.npy"), np.load(DATA / "expected.npy")
    # The states differ as above; the columns of the readout have absolute sums of 5.5 and 10.1.
    estimate = states @ readout["kernel"] + readout["bias"]
    np.testing.assert_allclose(model(inputs), estimate, rtol=0, atol=11 * TOLERANCE)


def test_every_bias_was_trained():
    # Zero biases would hide a mistake in their order or place from all that use the example.
    biases = np.load(DATA / "gru.npz")["biases"]
    assert np.all(np.abs(biases) > 1e-3)
    # In the candidate the two rows do different things: swapped rows must not go unnoticed.
    candidate = biases[:, -biases.shape[1] // 3 :]
    assert np.all(np.abs(candidate[0] - candidate[1]) > 1e-2)


@pytest.mark.slow
def test_the_script_writes_the_committed_files(tmp_path):
    pytest.importorskip("keras")
    subprocess.run(
        [sys.executable, EXAMPLES / "train_small_gru.py", "--out", tmp_path, "--epochs", "1"],
        check=True,
        env=os.environ,
        stdout=subprocess.DEVNULL,
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        p.name for p in DATA.iterdir() if p.suffix in (".npy", ".npz", ".keras")
    )
    # One epoch gives other weights, but the recording is the committed one. Not bit-for-bit:
    # NumPy's exponential and normal draws may differ by a rounding between processors.
    for name in ("inputs.npy", "truth.npy"):
        np.testing.assert_allclose(np.load(tmp_path / name), np.load(DATA / name), rtol=1e-6)
    for name in ("gru.npz", "readout.npz"):
        shapes = [
            {key: (value.shape, value.dtype) for key, value in np.load(folder / name).items()}
            for folder in (tmp_path, DATA)
        ]
        assert shapes[0] == shapes[1]
