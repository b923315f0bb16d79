"""Batches in a random order that is a function of a key and the position."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxgru.finetune._data import Sequences

Array = jax.Array


class Position(NamedTuple):
    """A position in the endless sequence of batches.

    Args:
        epoch: completed epochs.
        batch: completed batches of this epoch.
        window: completed windows of this batch.
    """

    epoch: int = 0
    batch: int = 0
    window: int = 0


class Batch(NamedTuple):
    """B sequences, or a window of them.

    Args:
        inputs: as in ``Sequences``, of these sequences and steps.
        targets: as in ``Sequences``, of these sequences and steps.
        lengths: integers ``(B,)``; None if all steps are valid.
        begins: whether the sequences begin here, so that the state is the initial state instead of
            the one carried over from the previous window.
    """

    inputs: jax.Array | np.ndarray
    targets: jax.Array | np.ndarray
    lengths: jax.Array | np.ndarray | None
    begins: ArrayLike


def batches(
    data: Sequences,
    batch_size: int,
    key: Array,
    *,
    window: int | None = None,
    start: Position = Position(),  # noqa: B008 (an immutable tuple)
) -> Iterator[tuple[Position, Batch]]:
    """Yield batches endlessly: all sequences once per epoch, in a new order in each epoch.

    The order of an epoch depends only on the key and the epoch, so a resumed run has the same
    batches as an uninterrupted one. All batches have the same size: the last of an epoch is padded
    with sequences of length 0. Sequences of length 0 in the data are omitted.

    Args:
        data: the sequences.
        batch_size: B, at least 1.
        key: a JAX random key.
        window: the number of steps of a window. Each batch is cut along time into windows, up to
            the end of its longest sequence (truncated backpropagation through time); targets must
            be those of steps. None: batches are not cut.
        start: the position to begin at.

    Yields:
        The position after the batch, from which a later call can start, and the batch.

    Raises:
        ValueError: batch_size or window is below 1, or no sequence has any step.

    >>> import jax, numpy as np
    >>> from jaxgru.finetune import Sequences, batches
    >>> data = Sequences(np.zeros((5, 9, 3)), np.zeros((5, 9, 2)))
    >>> row = batches(data, 2, jax.random.key(0))
    >>> for position, batch in (next(row) for _ in range(3)):
    ...     print(position, batch.lengths)
    Position(epoch=0, batch=1, window=0) [9 9]
    Position(epoch=0, batch=2, window=0) [9 9]
    Position(epoch=1, batch=0, window=0) [9 0]
    """
    for name, size in (("batch_size", batch_size), ("window", window)):
        if size is not None and size < 1:
            raise ValueError(f"{name} is {size}: expected at least 1")
    used = np.arange(len(data.inputs))
    if data.lengths is not None:
        used = np.flatnonzero(data.lengths)
    if len(used) == 0 or data.inputs.shape[1] == 0:
        raise ValueError("the data has no valid step: expected at least one")
    return _batches(data, used, batch_size, key, window, start)


def count_batches(data: Sequences, batch_size: int) -> int:
    """Return the number of batches of an epoch, each with all of its windows."""
    used = len(data.inputs) if data.lengths is None else np.count_nonzero(data.lengths)
    return math.ceil(used / batch_size)


def take(data: Sequences, rows: np.ndarray, size: int, *, with_lengths: bool) -> Sequences:
    """Return some sequences, padded to ``size`` with copies of the first at length 0."""
    filled = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
    lengths = None
    if data.lengths is not None or with_lengths:
        steps = data.inputs.shape[1] if data.lengths is None else data.lengths[filled]
        lengths = np.where(np.arange(size) < len(rows), steps, 0).astype(np.int32)
    return Sequences(data.inputs[filled], data.targets[filled], lengths)


def _batches(
    data: Sequences,
    used: np.ndarray,
    batch_size: int,
    key: Array,
    window: int | None,
    start: Position,
) -> Iterator[tuple[Position, Batch]]:
    epoch, first, done = start
    # All batches have the same structure, so that the step is compiled once.
    with_lengths = len(used) % batch_size != 0
    while True:
        order = used[np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), len(used)))]
        groups = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
        for number, rows in enumerate(groups[first:], first):
            whole = take(data, rows, batch_size, with_lengths=with_lengths)
            windows = _windows(whole, window)
            for i, part in enumerate(windows[done:], done):
                if i + 1 < len(windows):
                    after = Position(epoch, number, i + 1)
                elif number + 1 < len(groups):
                    after = Position(epoch, number + 1)
                else:
                    after = Position(epoch + 1)
                yield after, Batch(*part, begins=np.bool_(i == 0))
            done = 0
        epoch, first = epoch + 1, 0


def _windows(whole: Sequences, window: int | None) -> list[Sequences]:
    if window is None:
        return [whole]
    time = whole.inputs.shape[1]
    longest = time if whole.lengths is None else int(whole.lengths.max())
    parts = []
    for start in range(0, longest, window):
        steps = slice(start, min(start + window, time))
        lengths = whole.lengths
        if lengths is not None:
            lengths = np.clip(lengths - start, 0, steps.stop - start)
        parts.append(Sequences(whole.inputs[:, steps], whole.targets[:, steps], lengths))
    return parts
