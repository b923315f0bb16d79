"""A table of states: all of a short sequence, the beginning and the end of a long one."""

import dataclasses
import math

import numpy as np

from jaxgru._arrayfiles import sequence_name
from jaxgru._layers import layers, output_size
from jaxgru._net import Net
from jaxgru.streaming import Chunk


@dataclasses.dataclass(frozen=True)
class Columns:
    """The labels of the last axis of the states, which consists of named parts.

    Args:
        sizes: the size of each part; the name of a single part is not shown.
        word: the word for a column: "unit" or "output".
    """

    sizes: dict[str, int]
    word: str

    @classmethod
    def of(cls, net: Net, all_layers: bool) -> "Columns":
        """Return the columns of a net: the outputs of its last layer, or the states of all."""
        if all_layers:
            return cls({place: layer.hidden_size for place, layer in layers(net)}, "unit")
        return cls({"net": output_size(net)}, "unit" if len(layers(net)) == 1 else "output")

    @property
    def labels(self) -> list[tuple[str, str]]:
        """The part of each column, and its name there."""
        sizes = self.sizes.items()
        return [(place, f"{self.word} {i}") for place, size in sizes for i in range(size)]

    def label(self, column: int) -> str:
        """Return the name of a column."""
        return " ".join(self.labels[column][len(self.sizes) == 1 :])

    def __str__(self) -> str:
        """Return the slices of the parts; nothing if there is one part."""
        if len(self.sizes) == 1:
            return ""
        ends = np.cumsum([0, *self.sizes.values()])
        parts = zip(self.sizes, ends, ends[1:], strict=False)
        return ": " + ", ".join(f"{place} in [..., {i}:{j}]" for place, i, j in parts)


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
        self._sequences = math.prod(batch)
        self._steps = [*range(min(time, _EDGE)), *range(max(_EDGE, time - _EDGE), time)]
        self._units = min(units, max(1, (width - _STEP_WIDTH) // _CELL_WIDTH))
        self._rows: dict[tuple[int, int], np.ndarray] = {}

    def add(self, chunk: Chunk) -> None:
        """Keep the shown states of one more chunk."""
        rows, steps = chunk.window
        for number in range(rows.start, min(rows.stop, _SEQUENCES)):
            for step in self._steps:
                if steps.start <= step < steps.stop:
                    states = chunk.ys[number - rows.start, step - steps.start, : self._units]
                    self._rows[number, step] = states.copy()  # a view would keep the whole chunk

    def __str__(self) -> str:
        lines = []
        for number in range(min(self._sequences, _SEQUENCES)):
            if len(self._shape) > 2:
                lines.append(sequence_name(self._shape[:-2], number))
            lines += self._heading()
            for before, step in zip([-1, *self._steps], self._steps, strict=False):
                if step > before + 1:
                    lines.append(f"{'...':>{_STEP_WIDTH}}")
                cells = "".join(f"{value:{_CELL_WIDTH}.8f}" for value in self._rows[number, step])
                lines.append(f"{step:{_STEP_WIDTH}}{cells}")
        return "\n".join([*lines, self._remark()])

    def _heading(self) -> list[str]:
        labels = self._columns.labels[: self._units]
        cells = "".join(f"{name:>{_CELL_WIDTH}}" for _, name in labels)
        heading = [f"{'step':>{_STEP_WIDTH}}{cells}"]
        if len(self._columns.sizes) > 1:  # each place above the first column of its part
            starts = (place if name.endswith(" 0") else "" for place, name in labels)
            cells = "".join(f"{start:>{_CELL_WIDTH}}" for start in starts)
            heading.insert(0, f"{'':{_STEP_WIDTH}}{cells}".rstrip())
        return heading

    def _remark(self) -> str:
        shown = (
            min(self._sequences, _SEQUENCES) == self._sequences
            and len(self._steps) == self._shape[-2]
            and self._units == self._shape[-1]
        )
        part = "" if shown else "; truncated; -o writes all"
        return f"states {self._shape}{self._columns}{part}"


_EDGE = 10  # shown steps at each end
_SEQUENCES = 3
_STEP_WIDTH = 8
_CELL_WIDTH = 12
