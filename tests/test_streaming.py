"""Streams in chunks: the chunks together are the whole, within bounded memory."""

import subprocess
import sys

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru
from jaxgru import streaming

# Float32 against float64 over a dozen steps of states within 1: a few roundings of 6e-8 each.
TOLERANCE = 1e-6


class Memory:
    """A reader of an array in memory, which keeps the windows it was asked for."""

    def __init__(self, array):
        self.array = np.asarray(array)
        self.shape = self.array.shape
        self.windows = []

    def read(self, window):
        self.windows.append(window)
        return window.take(self.array)


def put_together(chunks, shape):
    """Return all states from their chunks, each place filled exactly once."""
    whole = np.full(shape, np.nan, np.float32)
    flat = whole.reshape(-1, *shape[-2:])
    for chunk in chunks:
        rows, steps = chunk.window
        assert np.isnan(flat[rows, steps]).all()
        flat[rows, steps] = chunk.ys
    assert not np.isnan(whole).any()
    return whole


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 4, 12, 100, None])
@pytest.mark.parametrize("batch", [(), (5,), (3, 2)])
def test_chunks_are_together_what_the_oracle_gives(key, batch, steps, reverse):
    keys = jax.random.split(key, 3)
    params = cases.random_params(keys[0], 3, 4)
    xs = np.asarray(cases.random_inputs(keys[1], (*batch, 12, 3)))
    h0 = np.asarray(cases.random_inputs(keys[2], (*batch, 4)))
    chunks = streaming.stream(params, Memory(xs), h0, steps=steps, reverse=reverse)
    expected, _ = oracle.gru_batch(params, xs, h0, reverse=reverse)
    ys = put_together(chunks, expected.shape)
    np.testing.assert_allclose(ys, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [None, 5])
def test_many_sequences_are_taken_some_at_a_time(key, monkeypatch, steps, reverse):
    keys = jax.random.split(key, 3)
    params = cases.random_params(keys[0], 3, 4)
    xs = np.asarray(cases.random_inputs(keys[1], (3, 5, 12, 3)))
    h0 = np.asarray(cases.random_inputs(keys[2], (3, 5, 4)))
    # Room for 50 steps of input, projections and state.
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 50 * 4 * (3 + 4 * 4))
    inputs = Memory(xs)
    chunks = list(streaming.stream(params, inputs, h0, steps=steps, reverse=reverse))
    assert max(chunk.ys.shape[0] * chunk.ys.shape[1] for chunk in chunks) <= 50
    assert len(inputs.windows) == len(chunks) > 3
    expected, _ = oracle.gru_batch(params, xs, h0, reverse=reverse)
    ys = put_together(chunks, expected.shape)
    np.testing.assert_allclose(ys, expected, rtol=0, atol=TOLERANCE)


def test_one_state_serves_every_sequence(key):
    keys = jax.random.split(key, 3)
    params = cases.random_params(keys[0], 3, 4)
    xs = np.asarray(cases.random_inputs(keys[1], (2, 6, 3)))
    h0 = np.asarray(cases.random_inputs(keys[2], (4,)))
    expected, _ = oracle.gru_batch(params, xs, h0)
    ys = put_together(streaming.stream(params, Memory(xs), h0), expected.shape)
    np.testing.assert_allclose(ys, expected, rtol=0, atol=TOLERANCE)


def test_a_shape_is_compiled_once(key, monkeypatch):
    traced = []

    def gru(params, xs, h0, *, reverse, precision):
        traced.append(xs.shape)
        return jaxgru.gru(params, xs, h0, reverse=reverse, precision=precision)

    compiled = jax.jit(gru, static_argnames=("reverse", "precision"))
    monkeypatch.setattr(streaming, "_gru", compiled)
    params = cases.random_params(key, 3, 4)
    list(streaming.stream(params, Memory(np.zeros((26, 3))), steps=8))
    assert traced == [(1, 8, 3), (1, 2, 3)]


@pytest.mark.parametrize("shape", [(0, 3), (0, 5, 3), (5, 0, 3)])
def test_nothing_in_nothing_out(key, shape):
    params = cases.random_params(key, 3, 4)
    assert list(streaming.stream(params, Memory(np.zeros(shape)))) == []


def test_half_precision_weights_leave_inputs_and_states_single(key):
    keys = jax.random.split(key)
    params = cases.random_params(keys[0], 3, 4, dtype=jnp.bfloat16)
    xs = np.asarray(cases.random_inputs(keys[1], (6, 3)))
    (chunk,) = streaming.stream(params, Memory(xs))
    assert chunk.ys.dtype == np.float32
    expected, _ = oracle.gru(params, xs)
    np.testing.assert_allclose(chunk.ys[0], expected, rtol=0, atol=TOLERANCE)


def test_double_precision_weights_keep_inputs_and_states_double(key, x64):
    keys = jax.random.split(key)
    params = cases.random_params(keys[0], 3, 4, dtype=jnp.float64)
    xs = np.asarray(cases.random_inputs(keys[1], (6, 3), jnp.float64))
    (chunk,) = streaming.stream(params, Memory(xs))
    expected, _ = oracle.gru(params, xs)
    # A few roundings of 1e-16 each.
    np.testing.assert_allclose(chunk.ys[0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("shape", "h0", "steps", "message"),
    [
        ((6, 2), None, None, r"inputs have shape \(6, 2\): expected \(..., T, 3\)"),
        ((3,), None, None, r"inputs have shape \(3,\): expected \(..., T, 3\)"),
        ((6, 3), (3,), None, r"h0 has shape \(3,\): expected \(4,\)"),
        ((2, 6, 3), (3, 4), None, r"h0 has shape \(3, 4\): expected \(4,\) or \(2, 4\)"),
        ((6, 3), None, 0, "steps is 0: expected at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(key, shape, h0, steps, message):
    params = cases.random_params(key, 3, 4)
    h0 = None if h0 is None else np.zeros(h0)
    with pytest.raises(ValueError, match=message):
        next(streaming.stream(params, Memory(np.zeros(shape)), h0, steps=steps))


PEAK_MEMORY = """
import resource, sys
from jaxgru.cli import main
assert main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux only")
@pytest.mark.parametrize("direction", [[], ["--reverse"]])
def test_memory_does_not_grow_with_the_input(key, tmp_path, direction):
    jaxgru.save(cases.random_params(key, 32, 16), tmp_path / "weights.npz")
    peaks = []
    for steps in (20_000, 2_000_000):
        inputs = tmp_path / f"{steps}.npy"
        # A sparse file: 2.5 MB, and 256 MB.
        np.lib.format.open_memmap(inputs, "w+", np.float32, (steps, 32))
        command = ["run", tmp_path / "weights.npz", inputs, "-o", tmp_path / "out.npy"]
        done = subprocess.run(
            [sys.executable, "-c", PEAK_MEMORY, *command, "--chunk", "10000", *direction],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    # Input and output are 384 MB. What one run differs from another by is a few MB.
    assert peaks[1] < peaks[0] + 64
