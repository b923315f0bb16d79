"""The comparison of states with expected ones, chunk by chunk: the largest error and its place."""

import numpy as np

from jaxgru._arrayfiles import ArrayReader
from jaxgru._cli.run_table import Columns
from jaxgru.streaming import Chunk


class Comparison:
    """The largest error of the states so far.

    For a state y with expected value e it is ``|y - e|``, in double precision. If one of the two
    is NaN, the error is infinite. It is compared with the largest ``|e|``, because relative errors
    of states near zero are large.

    Args:
        expected: the expected states, of the shape of all states.
        columns: the labels of the last axis.
    """

    def __init__(self, expected: ArrayReader, columns: Columns) -> None:
        self.absolute = self.scale = 0.0
        self._place = ""
        self._expected, self._columns = expected, columns

    def add(self, chunk: Chunk) -> None:
        """Compare one more chunk."""
        expected = self._expected.read(chunk.window).astype(np.float64)
        with np.errstate(invalid="ignore"):
            difference = np.abs(chunk.ys - expected)
        difference[chunk.ys == expected] = 0.0  # Inf - Inf is NaN
        difference[np.isnan(difference)] = np.inf
        finite = np.abs(expected[np.isfinite(expected)])
        self.scale = max(self.scale, finite.max(initial=0.0))
        if difference.max(initial=0.0) > self.absolute:
            self.absolute = difference.max()
            row, step, column = map(int, np.unravel_index(np.argmax(difference), difference.shape))
            place = chunk.window.place(self._expected.shape[:-2], row, step)
            self._place = f" at {place}, {self._columns.label(column)}"

    def __str__(self) -> str:
        text = f"largest absolute error {self.absolute:.3g}{self._place}"
        if self.scale > 0 and np.isfinite(self.absolute):
            text += f", {self.absolute / self.scale:.3g} of the largest state"
        return text
