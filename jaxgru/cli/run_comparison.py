"""States held against expected ones, chunk by chunk: the largest errors, and where."""

import numpy as np

from jaxgru.arrayfiles import ArrayReader
from jaxgru.streaming import Chunk


class Comparison:
    """The largest errors of the states so far.

    For a state y where e is expected they are ``|y - e|`` and ``|y - e| / |e|``, in double
    precision. Where one of the two is NaN, the error is infinite.

    Args:
        expected: the expected states, of the shape of all states.
    """

    def __init__(self, expected: ArrayReader) -> None:
        self.absolute = self.relative = 0.0
        self.place = ""  # of the largest absolute error
        self._expected = expected

    def add(self, chunk: Chunk) -> None:
        """Take one more chunk into account."""
        expected = self._expected.read(chunk.window).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            difference = np.abs(chunk.ys - expected)
            ratio = difference / np.abs(expected)
        ratio[difference == 0] = 0.0  # 0/0 is no error
        for errors in (difference, ratio):
            errors[np.isnan(errors)] = np.inf
        self.relative = max(self.relative, ratio.max(initial=0.0))
        if difference.max(initial=0.0) > self.absolute:
            self.absolute = difference.max()
            row, step, unit = np.unravel_index(difference.argmax(), difference.shape)
            self.place = f"{chunk.window.place(int(row), int(step))}, unit {unit}"
