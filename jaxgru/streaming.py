"""Sequences longer than memory: run through a GRU in chunks, the state handed on."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxgru.arrayfiles import ArrayReader, Window
from jaxgru.params import GRUParams
from jaxgru.sequence import gru


class Chunk(NamedTuple):
    """Inputs ``xs (rows, steps, I)`` in a window, and the states ``ys (rows, steps, H)``."""

    window: Window
    xs: np.ndarray
    ys: np.ndarray


def stream(
    params: GRUParams,
    inputs: ArrayReader,
    h0: np.ndarray | None = None,
    *,
    steps: int | None = None,
    reverse: bool = False,
) -> Iterator[Chunk]:
    """Give the states of a GRU chunk by chunk, with no more than one chunk in memory.

    As ``h`` is the only thing that passes from step to step, the chunks are together what
    ``jaxgru.gru`` gives for the whole. Products are computed in the full precision of their type,
    on accelerators too.

    Args:
        params: the weights, I inputs and H units.
        inputs: the sequences ``(..., T, I)``: any object with ``shape`` and ``read(window)``.
        h0: the state before the first step: ``(..., H)``, or ``(H,)`` for every sequence; zeros
            if None.
        steps: how many steps at a time; as many as keep a chunk near 64 MiB if None.
        reverse: go from the last step to the first.

    Yields:
        The chunks in the order of computation. Inputs are rounded to the type of the weights,
        or float32 if that is wider.

    Raises:
        ValueError: steps is below 1, or a shape does not fit the weights.

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
    shape, units = inputs.shape, params.hidden_size
    if len(shape) < 2 or shape[-1] != params.input_size:
        raise ValueError(f"inputs have shape {shape}: expected (..., T, {params.input_size})")
    *batch, time, _ = shape
    h0 = np.zeros(units) if h0 is None else h0
    if h0.shape not in ((units,), (*batch, units)):
        raise ValueError(f"h0 has shape {h0.shape}: expected ({units},) or {(*batch, units)}")
    starts = h0.reshape(-1, units)
    all_rows = math.prod(batch)
    rows_at_once, steps_at_once = _chunk_size(params, all_rows, time, steps)
    firsts = range(0, time, steps_at_once)
    for first_row in range(0, all_rows, rows_at_once):
        rows = slice(first_row, min(first_row + rows_at_once, all_rows))
        start = starts if h0.ndim == 1 else starts[rows]
        h = rounded(np.broadcast_to(start, (rows.stop - rows.start, units)), params)
        for first in reversed(firsts) if reverse else firsts:
            window = Window(rows, slice(first, min(first + steps_at_once, time)))
            xs = rounded(inputs.read(window), params)
            ys, h = _gru(params, xs, h, reverse=reverse, precision="highest")
            yield Chunk(window, xs, np.asarray(ys))


def state_dtype(params: GRUParams) -> np.dtype:
    """Return the type of the state: that of the weights, or float32 if that is wider."""
    return np.dtype(np.float32) if params.dtype.itemsize < 4 else params.dtype


def rounded(array: np.ndarray, params: GRUParams) -> np.ndarray:
    """Return numbers in the type of the state; a double beyond float32 is infinite in it."""
    with np.errstate(over="ignore"):
        return array.astype(state_dtype(params))


# Compiled once for each shape of a chunk.
_gru = jax.jit(gru, static_argnames=("reverse", "precision"))

# Large enough that starting a chunk costs nothing, small enough for any machine.
_CHUNK_BYTES = 64 * 2**20
# A chunk takes several sequences at once as long as it can have this many steps of each: numbers
# that lie apart in the file are then still read in long runs.
_LONG_ENOUGH = 1024


def _chunk_size(params: GRUParams, rows: int, time: int, steps: int | None) -> tuple[int, int]:
    """Return how many sequences, and how many steps of them, to take at a time."""
    if steps is not None and steps < 1:
        raise ValueError(f"steps is {steps}: expected at least 1")
    # What one step of one sequence holds in memory: the input, three projections, the state.
    numbers = params.input_size + 4 * params.hidden_size
    fitting = max(1, _CHUNK_BYTES // (state_dtype(params).itemsize * numbers))
    wanted = min(max(1, time), steps or _LONG_ENOUGH)
    rows = max(1, min(rows, fitting // wanted))
    return rows, steps or max(1, fitting // rows)
