"""What the formats have in common: a window of an array, its reader, its writer, its error."""

from typing import Any, NamedTuple, Protocol

import numpy as np


class ArrayFileError(ValueError):
    """A file does not hold, or cannot hold, the array that is asked for."""


class ArrayFileWarning(UserWarning):
    """An array that was read, and that holds something to know about: NaN or Inf."""


class Window(NamedTuple):
    """A part of an array of sequences ``(..., T, F)``: some of its sequences, some of their steps.

    Args:
        rows: which sequences, counted through all batch axes; without batch axes there is one.
        steps: which steps.
    """

    rows: slice
    steps: slice

    def take(self, whole: np.ndarray) -> np.ndarray:
        """Return a copy of this window's part of ``(..., T, F)``, as ``(rows, steps, F)``."""
        batch = whole.shape[:-2]
        if not batch:
            return np.array(whole[np.newaxis, self.steps])
        # Not a reshape: that would copy all of an array in Fortran order.
        numbers = np.arange(self.rows.start, self.rows.stop)
        index: tuple[Any, ...] = (*np.unravel_index(numbers, batch), self.steps)
        part: np.ndarray = whole[index]
        return part

    def place(self, row: int, step: int) -> str:
        """Return in words where, in the whole, an entry of this window's part is."""
        return f"sequence {self.rows.start + row}, step {self.steps.start + step}"


class ArrayReader(Protocol):
    """An array in an open file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""

    def read(self, window: Window) -> np.ndarray:
        """Return the part in the window, ``(rows, steps, F)``, of an array ``(..., T, F)``."""

    def read_all(self) -> np.ndarray:
        """Return the whole array."""


class ArrayWriter(Protocol):
    """An array in a file that is being written."""

    def write(self, window: Window, part: np.ndarray) -> None:
        """Write the part in the window, ``(rows, steps, F)``; parts may come in any order."""
