"""A GRU as an audio effect, block by block; run it in the root of the repository.

A sound card asks for the next block of samples every few milliseconds, and whoever is late is
heard. ``Effect`` is a callback as ``sounddevice.Stream(callback=...)`` takes it: a GRU of one input
for each channel, and a readout of its states. Nothing is allocated in it. Here a loop takes the
place of the sound card, and the script prints how much of the time of a block the callback needs ::

    python examples/audio_callback.py --units 40 --frames 64

The weights are random: those of a trained model of an amplifier come from ``jaxgru.load``.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np

import jaxgru

RATE = 48_000  # samples a second


class Effect:
    """A callback for blocks of at most ``frames`` samples.

    ``params`` is a GRU of one input and H units, ``readout`` the weights ``(H,)`` of its states.
    """

    def __init__(
        self, params: jaxgru.GRUParams, readout: np.ndarray, channels: int, frames: int
    ) -> None:
        self.stream = jaxgru.Stream(params, channels)
        self.readout = readout
        self.states = np.empty((frames, channels, params.hidden_size), np.float32)

    def __call__(
        self, indata: np.ndarray, outdata: np.ndarray, frames: int, time: Any, status: Any
    ) -> None:
        """Compute ``outdata (frames, channels)`` from ``indata``, in place."""
        states = self.stream(indata[..., np.newaxis], out=self.states[:frames])
        np.matmul(states, self.readout, out=outdata)


def main(units: int, frames: int, channels: int, seconds: float) -> None:
    keys = jax.random.split(jax.random.key(0))
    params = jaxgru.init(keys[0], 1, units)
    readout = np.asarray(jax.random.normal(keys[1], (units,))) / units
    effect = Effect(params, readout, channels, frames)
    blocks = max(1, int(seconds * RATE / frames))
    # One tone for each channel.
    t = np.arange(blocks * frames) / RATE
    played = np.sin(2 * np.pi * t[:, np.newaxis] * np.linspace(220, 330, channels))
    played = played.astype(np.float32)
    heard = np.zeros_like(played)

    taken = []
    for block in range(blocks):
        part = slice(block * frames, (block + 1) * frames)
        start = time.perf_counter()
        effect(played[part], heard[part], frames, None, None)
        taken.append(time.perf_counter() - start)

    states, _ = jaxgru.gru(params, played[..., np.newaxis], time_major=True)
    np.testing.assert_allclose(heard, states @ readout, rtol=0, atol=1e-5)
    budget = 1e6 * frames / RATE
    median, late = (1e6 * np.quantile(taken, q) for q in (0.5, 0.999))
    print(effect.stream)
    print(f"{blocks} blocks of {frames} samples, {channels} channels, {budget:.0f} us each")
    print(f"median {median:.0f} us ({median / budget:.1%}), 99.9th percentile {late:.0f} us")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run a GRU as an audio effect, block by block.")
    parser.add_argument("--units", type=int, default=40)
    parser.add_argument("--frames", type=int, default=128, help="samples in a block")
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    main(options.units, options.frames, options.channels, options.seconds)
