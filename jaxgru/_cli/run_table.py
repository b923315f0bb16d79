"""A table of states: all states of a short sequence, the beginning and the end of a long one."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from jaxgru._arrayfiles import sequence_name
from jaxgru._net import Net, output_size, unroll
from jaxgru.streaming import Chunk

_EDGE = 10  # shown steps at each end
_SEQUENCES = 3
_STEP_WIDTH = 8
_CELL_WIDTH = 12


class Columns(NamedTuple):
    """The last axis of the states: the outputs of a net, or the units of each layer."""

    sizes: dict[str, int]  # of each part by its position; that of a single part is not shown
    word: str  # "unit" or "output"

    @classmethod
    def of(cls, net: Net, all_layers: bool) -> "Columns":
        """Return the columns of a net: the outputs of its last layer, or the states of all."""
        if all_layers:
            return cls({layer.place: layer.params.hidden_size for layer in unroll(net)}, "unit")
        return cls({"net": output_size(net)}, "unit" if len(unroll(net)) == 1 else "output")

    @property
    def labels(self) -> list[tuple[str, str]]:
        """The part of each column, and its name there."""
        sizes = self.sizes.items()
        return [(place, f"{self.word} {i}") for place, size in sizes for i in range(size)]

    def label(self, column: int) -> str:
        """Return the name of a column."""
        return " ".join(self.labels[column][len(self.sizes) == 1 :])

    def names(self) -> list[str]:
        """Return the names of all columns."""
        return [self.label(i) for i in range(len(self.labels))]

    def slices(self) -> str:
        """Return the slice of each part as text; empty for a single part."""
        if len(self.sizes) == 1:
            return ""
        ends = itertools.pairwise(itertools.accumulate(self.sizes.values(), initial=0))
        parts = zip(self.sizes, ends, strict=True)
        return ": " + ", ".join(f"{place} in [..., {i}:{j}]" for place, (i, j) in parts)


class Table:
    """The states to show, collected chunk by chunk; ``str`` returns the table.

    Args:
        shape: the shape of all states, ``(..., T, H)``.
        columns: the labels of the last axis.
        width: the largest number of characters in a line.
    """

    def __init__(self, shape: tuple[int, ...], columns: Columns, width: int) -> None:
        *batch, time, units = shape
        self._shape, self._columns = shape, columns
        self._sequences = min(math.prod(batch), _SEQUENCES)
        self._steps = [*range(min(time, _EDGE)), *range(max(_EDGE, time - _EDGE), time)]
        self._units = min(units, max(1, (width - _STEP_WIDTH) // _CELL_WIDTH))
        self._rows: dict[tuple[int, int], np.ndarray] = {}

    def add(self, chunk: Chunk) -> None:
        """Keep the shown states of one more chunk."""
        rows, steps = chunk.window
        for number in range(rows.start, min(rows.stop, self._sequences)):
            for step in self._steps:
                if steps.start <= step < steps.stop:
                    states = chunk.ys[number - rows.start, step - steps.start, : self._units]
                    self._rows[number, step] = states.copy()  # a view would keep the whole chunk

    def __str__(self) -> str:
        lines = []
        for number in range(self._sequences):
            if len(self._shape) > 2:
                lines.append(sequence_name(self._shape[:-2], number))
            lines += self._heading()
            for before, step in zip([-1, *self._steps], self._steps, strict=False):
                if step > before + 1:
                    lines.append(f"{'...':>{_STEP_WIDTH}}")
                cells = "".join(f"{value:{_CELL_WIDTH}.8f}" for value in self._rows[number, step])
                lines.append(f"{step:{_STEP_WIDTH}}{cells}")
        *batch, time, units = self._shape
        whole = (math.prod(batch), time, units)
        truncated = (self._sequences, len(self._steps), self._units) != whole
        note = "; truncated; -o writes all" if truncated else ""
        return "\n".join([*lines, f"states {self._shape}{self._columns.slices()}{note}"])

    def _heading(self) -> list[str]:
        labels = self._columns.labels[: self._units]
        cells = "".join(f"{name:>{_CELL_WIDTH}}" for _, name in labels)
        heading = [f"{'step':>{_STEP_WIDTH}}{cells}"]
        if len(self._columns.sizes) > 1:  # each position above the first column of its part
            starts = (place if name.endswith(" 0") else "" for place, name in labels)
            cells = "".join(f"{start:>{_CELL_WIDTH}}" for start in starts)
            heading.insert(0, f"{'':{_STEP_WIDTH}}{cells}".rstrip())
        return heading
