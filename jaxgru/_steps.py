"""What runs the steps of a stream: the native loops, or a compiled program of JAX."""

import threading
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._net import map_layers
from jaxgru._params import GRUParams
from jaxgru._recurrence import library
from jaxgru._recurrence.implementation import reason_of_equations
from jaxgru._recurrence.step import fold
from jaxgru._sequence import gru


def native_steps(
    layers: Sequence[GRUParams], states: Sequence[np.ndarray], batched: bool
) -> tuple[Any, str | None]:
    """Return the native steps of a stack, or None and the reason against them.

    Args:
        layers: the weights, arrays of NumPy in the type of the states.
        states: that of each layer, ``(n, H)``, which the steps read and write.
        batched: whether inputs and outputs have an axis of streams.

    Returns:
        An object with the methods of ``CompiledSteps``. Its ``run`` also takes what is not
        prepared: it returns NotImplemented for what it cannot take as it is.
    """
    stream_type, reason = library.stream_type()
    for params in layers:
        reason = reason or reason_of_equations(params)
    if reason is not None:
        return None, reason
    dtype = states[0].dtype
    packed = tuple(
        (*fold(params), params.reset_after, state)
        for params, state in zip(layers, states, strict=True)
    )
    given = (np.ndarray, np.empty, dtype, dtype.char, len(states[0]), batched, packed)
    return stream_type(*given), None


class CompiledSteps:
    """The steps of a net by JAX, compiled once for each number of steps.

    As a context manager, it keeps other threads from its states.

    Args:
        net: the weights, arrays of NumPy in the type of the states.
        states: that of each layer, ``(n, H)``, which the steps read and write.
        batched: whether inputs and outputs have an axis of streams.
    """

    def __init__(self, net: Any, states: Sequence[np.ndarray], batched: bool) -> None:
        self._net, self._states, self._batched = net, states, batched
        self._lock = threading.Lock()
        self._program = jax.jit(self._run)

    def __enter__(self) -> "CompiledSteps":
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                "the stream is in use by another thread: expected one thread at a time"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def run(self, xs: np.ndarray, out: np.ndarray | None, active: np.ndarray | None) -> np.ndarray:
        """Run steps on arrays that are dense and in the type of the states; return the outputs."""
        with self, jax.enable_x64(xs.dtype == np.float64):
            ys, states = self._program(list(self._states), xs, active)
            if out is None:
                out = np.array(ys)
            else:
                out[...] = ys
            for state, after in zip(self._states, states, strict=True):
                state[...] = after
        return out

    def _run(
        self, states: list[jax.Array], x: jax.Array, active: jax.Array | None
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Run the net on the layout (time, streams, inputs), and restore that of x."""
        rows, width = states[0].shape[0], x.shape[-1]
        xs = x.reshape(-1, rows, width)
        mask = None if active is None else jnp.broadcast_to(active, xs.shape[:2])
        of_layers = iter(states)
        h0 = map_layers(lambda _: next(of_layers), self._net)
        ys, h = gru(
            self._net,
            xs,
            h0,
            mask=mask,
            time_major=True,
            precision="highest",
            implementation="scan",
        )
        return ys.reshape(*x.shape[:-1], ys.shape[-1]), jax.tree.leaves(h)
