"""States as a table to read: all of a short sequence, beginning and end of a long one."""

import math

import numpy as np

from jaxgru.streaming import Chunk


class Table:
    """The states to show, collected chunk by chunk; ``str`` gives the table.

    Args:
        shape: the shape of all states, ``(..., T, H)``.
        width: how many characters a line may have.
    """

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        *batch, time, units = shape
        self._shape = shape
        self._sequences = math.prod(batch)
        self._steps = [*range(min(time, _EDGE)), *range(max(_EDGE, time - _EDGE), time)]
        self._units = min(units, max(1, (width - _STEP_WIDTH) // _CELL_WIDTH))
        self._rows: dict[tuple[int, int], np.ndarray] = {}

    def add(self, chunk: Chunk) -> None:
        """Keep what the table shows of one more chunk."""
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
                lines.append(f"sequence {number}")
            lines.append(self._heading())
            for before, step in zip([-1, *self._steps], self._steps, strict=False):
                if step > before + 1:
                    lines.append(f"{'...':>{_STEP_WIDTH}}")
                cells = "".join(f"{value:{_CELL_WIDTH}.8f}" for value in self._rows[number, step])
                lines.append(f"{step:{_STEP_WIDTH}}{cells}")
        return "\n".join([*lines, self._remark()])

    def _heading(self) -> str:
        units = "".join(f"{f'unit {unit}':>{_CELL_WIDTH}}" for unit in range(self._units))
        return f"{'step':>{_STEP_WIDTH}}{units}"

    def _remark(self) -> str:
        shown = (
            min(self._sequences, _SEQUENCES) == self._sequences
            and len(self._steps) == self._shape[-2]
            and self._units == self._shape[-1]
        )
        return f"states {self._shape}" + ("" if shown else ", shown in part: -o writes all")


_EDGE = 10  # steps at either end
_SEQUENCES = 3
_STEP_WIDTH = 8
_CELL_WIDTH = 12
