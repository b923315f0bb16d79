"""Arrays as text: one step a line, its numbers between commas or white space."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jaxgru.arrayfiles.interface import ArrayFileError, ArrayReader, Window

Array = np.ndarray


class TextReader:
    """The rows of numbers ``(T, F)`` of an open text file, read a window at a time.

    Empty lines and lines that begin with ``#`` are passed over, and so is a header: a first line
    none of whose cells is a number.

    Args:
        file: the file, open for reading in binary, at its start.
        name: what error messages call it.
        delimiter: what stands between two numbers; None is any white space.

    Raises:
        ArrayFileError: there are no rows; or, on reading, a row has fewer or more cells than the
            first, or a cell is no number. Line and column are named, counted from 1.
    """

    def __init__(self, file: IO[bytes], name: str, delimiter: bytes | None) -> None:
        self._file, self._name, self._delimiter = file, name, delimiter
        lines = self._lines(_Mark(0, 0))
        first = next(lines, None)
        if first is not None and self._is_header(first[1]):
            first = next(lines, None)
        if first is None:
            raise ArrayFileError(f"{name}: it holds no rows of numbers")
        self._marks: list[_Mark] = []
        for row, (mark, _) in enumerate(itertools.chain([first], lines)):
            if row % _ROWS_PER_MARK == 0:
                self._marks.append(mark)
        self._shape = (row + 1, len(self._cells(first[1])))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""
        return self._shape

    def read(self, window: Window) -> Array:
        """Return the steps of the window, ``(1, steps, F)``, in double precision."""
        return self._read(window.steps.start, window.steps.stop)[np.newaxis]

    def read_all(self) -> Array:
        """Return all steps, ``(T, F)``, in double precision."""
        return self._read(0, self._shape[0])

    def _read(self, first: int, last: int) -> Array:
        array = np.empty((last - first, self._shape[1]))
        mark, skipped = divmod(first, _ROWS_PER_MARK)
        lines = itertools.islice(self._lines(self._marks[mark]), skipped, None)
        for row in array:
            if (found := next(lines, None)) is None:
                raise ArrayFileError(f"{self._name}: it lost rows while it was read")
            before, line = found
            row[:] = self._numbers(line, before.line + 1)
        return array

    def _lines(self, start: "_Mark") -> Iterator[tuple["_Mark", bytes]]:
        """Give every line with cells from ``start`` on, with what comes before it."""
        self._file.seek(start.offset)
        mark = start
        for line in self._file:
            content = line.removeprefix(_BYTE_ORDER_MARK) if mark.line == 0 else line
            content = content.strip()
            if content and not content.startswith(b"#"):
                yield mark, content
            mark = _Mark(mark.offset + len(line), mark.line + 1)

    def _cells(self, line: bytes) -> list[bytes]:
        return [cell.strip() for cell in line.split(self._delimiter)]

    def _is_header(self, line: bytes) -> bool:
        # A line of empty cells is no header but a row whose numbers are missing.
        cells = self._cells(line)
        return any(cells) and not any(map(_is_number, cells))

    def _numbers(self, line: bytes, number: int) -> list[float]:
        cells = line.split(self._delimiter)
        # This runs for every number of a file: what is wrong is found out only where something is.
        with contextlib.suppress(ValueError):
            numbers = list(map(float, cells))
            if len(cells) == self._shape[1] and b"_" not in line:
                return numbers
        raise ArrayFileError(f"{self._name}: line {number}{self._fault(line)}")

    def _fault(self, line: bytes) -> str:
        """Return what is wrong with a line: the end of a sentence that begins with its number."""
        cells = self._cells(line)
        if len(cells) != self._shape[1]:
            return f" has {len(cells)} columns, expected {self._shape[1]}, as in the first row"
        column = next(column for column, cell in enumerate(cells) if not _is_number(cell))
        shown = ascii(cells[column].decode("utf-8", "replace")[:40])
        return f", column {column + 1} is {shown}, expected a number"


def write_text(reader: ArrayReader, path: Path, delimiter: str) -> None:
    """Write an array ``(T, F)`` of float32 or float64 as text that reads back to the same bits."""
    time, features = reader.shape
    rows = max(1, _NUMBERS_AT_A_TIME // max(1, features))
    with open(path, "wb") as file:
        for start in range(0, time, rows):
            window = Window(slice(0, 1), slice(start, min(start + rows, time)))
            (part,) = reader.read(window)
            # As many digits as tell any two numbers of the type apart.
            digits = 9 if part.dtype.itemsize <= 4 else 17
            np.savetxt(file, part, f"%.{digits}g", delimiter)


class _Mark(NamedTuple):
    """A place in the file: how many bytes and how many lines come before it."""

    offset: int
    line: int


# Between two marks lines are counted, so this trades a small index for a short search.
_ROWS_PER_MARK = 1024
_NUMBERS_AT_A_TIME = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # spreadsheets write it at the start of UTF-8


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return b"_" not in cell  # Python's own digit grouping is nobody's data
