"""NaN and Inf in inputs: run all the same, and said once."""

import warnings

import numpy as np

from jaxgru.arrayfiles import ArrayFileWarning
from jaxgru.streaming import Chunk


class NonFiniteWarner:
    """Warns of the first NaN or Inf in the inputs, in the order of computation.

    Args:
        path: the file of the inputs.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._found = False

    def add(self, chunk: Chunk) -> None:
        """Look at one more chunk."""
        if self._found or np.isfinite(chunk.xs).all():
            return
        self._found = True
        row, step, column = np.argwhere(~np.isfinite(chunk.xs))[0]
        place = f"{chunk.window.place(row, step)}, input {column}"
        warnings.warn(f"{self._path}: NaN or Inf at {place}", ArrayFileWarning, stacklevel=2)
