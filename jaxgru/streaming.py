"""Running a net in chunks over sequences larger than memory."""

import contextlib
import functools
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru import _checks
from jaxgru._arrayfiles import Window
from jaxgru._net import Layer, Net, State, check_net, map_layers, unroll
from jaxgru._sequence import gru, run_layers


class Inputs(Protocol):
    """Sequences that are read in windows, such as an array file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array, ``(..., T, I)``."""

    def read(self, window: Window) -> np.ndarray:
        """Return the inputs in a window, ``(rows, steps, I)``."""


class Chunk(NamedTuple):
    """Inputs ``xs (rows, steps, I)`` in a window, and the outputs ``ys (rows, steps, O)``."""

    window: Window
    xs: np.ndarray
    ys: np.ndarray


def stream(
    net: Net,
    inputs: Inputs,
    h0: np.ndarray | None = None,
    *,
    steps: int | None = None,
    reverse: bool = False,
    all_layers: bool = False,
) -> Iterator[Chunk]:
    """Yield the outputs of a net chunk by chunk, with one chunk in memory at a time.

    The concatenated chunks equal the outputs of ``jaxgru.gru`` for the whole sequence. For a
    bidirectional net, a chunk is a whole sequence. Products use ``precision="highest"``.

    Args:
        net: a layer, a ``Bidirectional``, a ``Backward`` or a stack, with I inputs, O outputs, and
            H units in all layers together.
        inputs: the sequences ``(..., T, I)``: any object with ``shape`` and ``read(window)``.
        h0: the concatenated states of all layers before the first step, ``(..., H)``, or ``(H,)``
            for every sequence; zeros if None.
        steps: the number of steps in a chunk. None: chunks of about 64 MiB.
        reverse: run from the last step to the first.
        all_layers: whether to yield the concatenated states of all layers, ``(rows, steps, H)``,
            instead of the outputs of the last layer.

    Yields:
        The chunks in the order of computation. Inputs are converted to the dtype of the weights, or
        to float32 if that is wider. If a merge is None, both outputs are concatenated.

    Raises:
        ValueError: steps is below 1 or given for a bidirectional net, a shape does not fit the
            weights, or a sequence for a bidirectional net does not fit in memory.

    >>> import jax, numpy as np, jaxgru
    >>> from jaxgru.streaming import stream
    >>> class Ones:
    ...     shape = (7, 3)
    ...     def read(self, window):
    ...         return window.take(np.ones(self.shape))
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> [chunk.ys.shape for chunk in stream(params, Ones(), steps=4)]
    [(1, 4, 5), (1, 3, 5)]
    """
    shape, (size, _) = inputs.shape, check_net(net)
    if len(shape) < 2 or shape[-1] != size:
        raise ValueError(f"inputs have shape {shape}: expected (..., T, {size})")
    *batch, time, _ = shape
    layers = unroll(net, reverse=reverse)
    units = sum(layer.params.hidden_size for layer in layers)
    h0 = np.zeros(units) if h0 is None else h0
    if h0.shape not in ((units,), (*batch, units)):
        raise ValueError(f"h0 has shape {h0.shape}: expected ({units},) or {(*batch, units)}")
    ways = {layer.reverse for layer in layers}
    rows_at_once, steps_at_once = _chunk_size(net, math.prod(batch), time, steps, len(ways) > 1)
    starts, firsts = h0.reshape(-1, units), range(0, time, steps_at_once)
    for first_row in range(0, math.prod(batch), rows_at_once):
        rows = slice(first_row, min(first_row + rows_at_once, math.prod(batch)))
        start = starts if h0.ndim == 1 else starts[rows]
        start = rounded(np.broadcast_to(start, (rows.stop - rows.start, units)), net)
        h = split_state(net, start)
        for first in reversed(firsts) if ways == {True} else firsts:
            window = Window(rows, slice(first, min(first + steps_at_once, time)))
            xs = rounded(inputs.read(window), net)
            ys, h = _run_chunk(net, xs, h, reverse=reverse, all_layers=all_layers)
            yield Chunk(window, xs, np.asarray(ys))


def split_state(net: Net, h: np.ndarray) -> Any:
    """Split concatenated states ``(..., H1 + H2 + ...)`` into the structure of the net."""
    stop = 0

    def part(layer: Layer) -> np.ndarray:
        nonlocal stop
        start, stop = stop, stop + layer.params.hidden_size
        return h[..., start:stop]

    return map_layers(part, net)


def state_dtype(net: Net) -> np.dtype:
    """Return the type of the state for the stored weights, whether JAX's x64 mode is on or off."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        return np.dtype(_checks.state_dtype(net))


def rounded(array: np.ndarray, net: Net) -> np.ndarray:
    """Convert numbers to the type of the state; values beyond the range of float32 become inf."""
    with np.errstate(over="ignore"):
        return array.astype(state_dtype(net))


# Compiled once for each shape of a chunk.
@functools.partial(jax.jit, static_argnames=("reverse", "all_layers"))
def _run_chunk(
    net: Net, xs: jax.Array, h: State, *, reverse: bool, all_layers: bool
) -> tuple[jax.Array, Any]:
    if all_layers:
        _, h, runs = run_layers(net, xs, h, reverse=reverse, precision="highest")
        ys: Any = tuple(run.ys for run in runs)
    else:
        ys, h = gru(net, xs, h, reverse=reverse, precision="highest")
    return jnp.concatenate(ys, axis=-1) if isinstance(ys, tuple) else ys, h


# Large enough that the overhead of a call is negligible, small enough for any machine.
_CHUNK_BYTES = 64 * 2**20
# A chunk has several sequences only if it can have this many steps of each, so that reads of the
# file stay contiguous.
_LONG_ENOUGH = 1024


def _chunk_size(
    net: Net, rows: int, time: int, steps: int | None, both_ways: bool
) -> tuple[int, int]:
    """Return the numbers of sequences and of steps in a chunk."""
    if steps is not None and steps < 1:
        raise ValueError(f"steps is {steps}: expected at least 1")
    # The memory of one step of one sequence: inputs, three projections, states.
    numbers = sum(params.input_size + 4 * params.hidden_size for params, *_ in unroll(net))
    each = state_dtype(net).itemsize * numbers
    if both_ways:
        if steps is not None:
            raise ValueError(
                f"steps is {steps}: expected None, as a bidirectional net needs whole sequences"
            )
        if (needed := each * time) > (there := _memory()):
            raise ValueError(
                f"a bidirectional net needs whole sequences in memory: {time:,} steps take "
                f"about {needed / 2**30:,.1f} GiB, expected at most {there / 2**30:,.1f} GiB"
            )
        steps = max(1, time)
    fitting = max(1, _CHUNK_BYTES // each)
    wanted = min(max(1, time), steps or _LONG_ENOUGH)
    rows = max(1, min(rows, fitting // wanted))
    return rows, steps or max(1, fitting // rows)


def _memory() -> int:
    """Return the bytes of memory that this process may use, according to the system."""
    limits = [sys.maxsize]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):  # the limit of a container
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits)
