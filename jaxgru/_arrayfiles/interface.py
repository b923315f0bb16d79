"""The formats, windows of an array and the errors."""

import math
import os
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

FORMATS = (".npy", ".npz", ".csv", ".txt")
TEXT = (".csv", ".txt")


class ArrayFileError(ValueError):
    """A file does not contain, or cannot store, the requested array."""


class ArrayFileWarning(UserWarning):
    """An array has NaN or Inf, or a file is ambiguous."""


class Window(NamedTuple):
    """A part of an array of sequences ``(..., T, F)``: a range of sequences and of steps.

    Args:
        rows: the sequences, counted over all batch axes; without batch axes there is one.
        steps: the steps.
    """

    rows: slice
    steps: slice

    def take(self, whole: np.ndarray) -> np.ndarray:
        """Return a copy of this window's part of ``(..., T, F)``, as ``(rows, steps, F)``."""
        batch = whole.shape[:-2]
        if not batch:
            return np.array(whole[np.newaxis, self.steps])
        # Not a reshape, which would copy an array in Fortran order.
        numbers = np.arange(self.rows.start, self.rows.stop)
        index: tuple[Any, ...] = (*np.unravel_index(numbers, batch), self.steps)
        part: np.ndarray = whole[index]
        return part

    def place(self, batch: tuple[int, ...], row: int, step: int) -> str:
        """Describe the place of an entry of the part, in an array with these batch axes."""
        name = f"step {self.steps.start + step}"
        return f"{sequence_name(batch, self.rows.start + row)}, {name}" if batch else name


def sequence_name(batch: tuple[int, ...], number: int) -> str:
    """Describe a sequence by its index over all batch axes."""
    index = [int(i) for i in np.unravel_index(number, batch)]
    return f"sequence {index[0] if len(index) == 1 else tuple(index)}"


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a name in lower case; raise ArrayFileError for an unknown one."""
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ArrayFileError(
            f"{os.fspath(path)}: its suffix is {ending!r}: expected one of {', '.join(FORMATS)}"
        )
    return ending


def mapped(file: IO[bytes], shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Map a file that consists of the numbers of an array into memory."""
    if math.prod(shape) == 0:  # an empty mapping is an error
        return np.empty(shape, dtype)
    return np.asarray(np.memmap(file, dtype, "r", 0, shape))
