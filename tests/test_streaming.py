"""Streams in chunks: the chunks together are the whole, within bounded memory.

The oracle is the float64 loop over the whole. Float32 is off by a few roundings of 6e-8 each over a
dozen steps of states within 1. Nets of several layers are streamed in cli/test_cli_run.py.
"""

import sys

import cases
import fresh
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru
from jaxgru import streaming

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


def assert_streamed(chunks, expected, atol=TOLERANCE):
    """Assert that chunks are together the expected states, each place filled exactly once."""
    whole = np.full(expected.shape, np.nan)
    flat = whole.reshape(-1, *expected.shape[-2:])
    for chunk in chunks:
        rows, steps = chunk.window
        assert np.isnan(flat[rows, steps]).all()
        flat[rows, steps] = chunk.ys
    np.testing.assert_allclose(whole, expected, rtol=0, atol=atol)


@pytest.fixture
def layer(key):
    """A layer of 3 inputs and 4 units, sequences (3, 2, 12, 3) and a state (3, 2, 4)."""
    keys = jax.random.split(key, 3)
    shapes = (3, 2, 12, 3), (3, 2, 4)
    arrays = (cases.random_inputs(k, s) for k, s in zip(keys[1:], shapes, strict=True))
    return cases.random_params(keys[0], 3, 4), *map(np.asarray, arrays)


@pytest.mark.parametrize("reverse", [False, True])
def test_chunks_are_together_what_the_oracle_gives(layer, monkeypatch, reverse):
    params, xs, h0 = layer
    expected, _ = oracle.gru_batch(params, xs, h0, reverse=reverse)
    for steps in (5, 100):
        chunks = streaming.stream(params, Memory(xs), h0, steps=steps, reverse=reverse)
        assert_streamed(chunks, expected)
    # Room for 50 steps of input, projections and state: some sequences at a time.
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 50 * 4 * (3 + 4 * 4))
    inputs = Memory(xs)
    chunks = list(streaming.stream(params, inputs, h0, reverse=reverse))
    assert max(chunk.ys.shape[0] * chunk.ys.shape[1] for chunk in chunks) <= 50
    assert len(inputs.windows) == len(chunks) == 2
    assert_streamed(chunks, expected)


def test_a_bidirectional_net_that_does_not_fit_is_refused(layer, monkeypatch):
    net, inputs = jaxgru.Bidirectional(layer[0], layer[0]), Memory(np.zeros((2, 1000, 3)))
    with pytest.raises(ValueError, match="steps is 10: expected None, as a bidirectional net"):
        next(streaming.stream(net, inputs, steps=10))
    assert 2**28 < streaming._memory() < 2**60
    monkeypatch.setattr(streaming, "_memory", lambda: 1000 * 4 * 2 * (3 + 4 * 4) - 1)
    message = r"whole sequences in memory: 1,000 steps take about 0\.0 GiB, expected at most"
    with pytest.raises(ValueError, match=message):
        next(streaming.stream(net, inputs))
    assert inputs.windows == []
    assert next(streaming.stream(net, Memory(np.zeros((2, 999, 3))))).ys.shape == (2, 999, 8)


def test_one_state_serves_every_sequence_and_a_shape_is_compiled_once(layer, monkeypatch):
    params, xs, h0 = layer
    traced = []

    def gru(net, xs, h0, **options):
        traced.append(xs.shape)
        return jaxgru.gru(net, xs, h0, **options)

    monkeypatch.setattr(streaming, "gru", gru)
    streaming._run_chunk.clear_cache()
    chunks = streaming.stream(params, Memory(xs[0]), h0[0, 0], steps=5)
    assert_streamed(chunks, oracle.gru_batch(params, xs[0], h0[0, 0])[0])
    assert traced == [(2, 5, 3), (2, 2, 3)]


@pytest.mark.parametrize("shape", [(0, 3), (0, 5, 3), (5, 0, 3)])
def test_nothing_in_nothing_out(key, shape):
    params = cases.random_params(key, 3, 4)
    for net in (params, jaxgru.Bidirectional(params, params)):
        assert list(streaming.stream(net, Memory(np.zeros(shape)))) == []


@pytest.mark.parametrize(
    ("weights", "states", "tolerance"),
    # A few roundings each.
    [(jnp.bfloat16, np.float32, TOLERANCE), (jnp.float64, np.float64, 1e-14)],
)
def test_states_are_single_or_double(key, layer, x64, weights, states, tolerance):
    params = cases.random_params(key, 3, 4, dtype=weights)
    xs = layer[1][0, 0].astype(states) / 3
    (chunk,) = streaming.stream(params, Memory(xs))
    assert chunk.ys.dtype == states
    assert_streamed([chunk], oracle.gru(params, xs)[0], tolerance)


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
from jaxgru._cli.command import main
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
        printed = fresh.python("-c", PEAK_MEMORY, *command, "--chunk", 10_000, *direction)
        peaks.append(int(printed.splitlines()[-1]) / 1024)
    # Input and output are 384 MB. What one run differs from another by is a few MB.
    assert peaks[1] < peaks[0] + 64
