"""Arrays as text: one step per line, numbers separated by commas, semicolons or whitespace."""

import contextlib
import csv
import os
import warnings
from typing import IO

import numpy as np

from jaxgru._arrayfiles.interface import ArrayFileError, ArrayFileWarning

_BLOCK = 1 << 24  # characters at a time


def convert_text(
    path: str | os.PathLike[str], delimiters: str, target: IO[bytes]
) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Write the rows of a text to an open file, as numbers in double precision.

    Empty lines and lines that begin with ``#`` are ignored. The first line is a header if none of
    its cells is a number.

    Args:
        path: the text.
        delimiters: the separators; the first one that occurs in the first line is used. Empty for
            any whitespace.
        target: the file for the numbers, row by row.

    Returns:
        The names in the header, empty without one, and the shape ``(T, F)``.

    Raises:
        ArrayFileError: there are no rows, a row has fewer or more cells than the first, or a cell
            is not a number. The message has the line and the column, counted from 1.
    """
    names: tuple[str, ...] = ()
    delimiter = delimiters[:1] or None
    count, width, read = 0, 0, 0
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        while lines := file.readlines(_BLOCK):
            rows = {
                read + i: line
                for i, line in enumerate(lines, start=1)
                if line.strip() and not line.lstrip().startswith("#")
            }
            read += len(lines)
            if rows and width == 0:
                number, line = next(iter(rows.items()))
                delimiter = next((each for each in delimiters if each in line), delimiter)
                first = _cells(line, delimiter)
                width = len(first)
                # A line of empty cells is a row with missing numbers.
                if any(first) and not any(map(_is_number, first)):
                    names = tuple(first)
                    del rows[number]
                elif first == [str(i) for i in range(width)] and (
                    width > 1 or "." in "".join(list(rows.values())[1:2])
                ):
                    warnings.warn(
                        f"{os.fspath(path)}: its first line is {line.strip()[:40]}, which is read "
                        "as numbers: begin it with # if it is a header",
                        ArrayFileWarning,
                        stacklevel=2,
                    )
            if rows:
                _numbers(path, rows, delimiter, width).tofile(target)
                count += len(rows)
    if count == 0:
        raise ArrayFileError(f"{os.fspath(path)}: it has no rows of numbers: expected at least one")
    target.flush()
    return names, (count, width)


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    with contextlib.suppress(csv.Error):  # of an overlong cell
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    return line.strip().split(delimiter)


def _numbers(
    path: str | os.PathLike[str], rows: dict[int, str], delimiter: str | None, width: int
) -> np.ndarray:
    try:
        quote = None if delimiter is None else '"'
        table = np.loadtxt(
            rows.values(), delimiter=delimiter, comments=None, quotechar=quote, ndmin=2
        )
    except ValueError as error:
        fault = str(error)
    else:
        if table.shape[1] == width:
            return table
        fault = f"it has {table.shape[1]} columns: expected {width}"
    for number, line in rows.items():
        cells = _cells(line, delimiter)
        if len(cells) != width:
            fault = f"line {number} has {len(cells)} columns: expected {width}, as in the first row"
            break
        if bad := [column for column, cell in enumerate(cells) if not _is_number(cell)]:
            cell = cells[bad[0]]
            fault = f"line {number}, column {bad[0] + 1} is {cell[:40]!a}: expected a number"
            if delimiter is not None and {",", ";", "\t"} & set(cell):
                fault += f" with a decimal point, and {delimiter!r} between numbers"
            break
    raise ArrayFileError(f"{os.fspath(path)}: {fault}")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # float accepts underscores between digits, which data do not have
