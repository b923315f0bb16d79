"""Arrays as text: one step per line, numbers separated by commas or white space."""

import contextlib
import csv
import os
import warnings
from typing import IO

import numpy as np

from jaxgru._arrayfiles.interface import ArrayFileError, ArrayFileWarning


def convert_text(
    path: str | os.PathLike[str], delimiter: str | None, target: IO[bytes]
) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Write the rows of a text to an open file, as numbers in double precision.

    Empty lines and lines that begin with ``#`` are ignored. The first line is a header if none of
    its cells is a number, or if it is the header of pandas for columns without names: the numbers
    from 0, with or without an empty cell for the index.

    Args:
        path: the text.
        delimiter: the separator of numbers; None is any white space.
        target: the file for the numbers, row by row.

    Returns:
        The names in the header, empty without one, and the shape ``(T, F)``.

    Raises:
        ArrayFileError: there are no rows, a row has fewer or more cells than the first, or a cell
            is not a number. The message has the line and the column, counted from 1.
    """
    names: tuple[str, ...] = ()
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
                first, *others = (_cells(line, delimiter) for line in list(rows.values())[:2])
                width = len(first)
                if _is_header(path, first, *others):
                    names = tuple(first)
                    del rows[next(iter(rows))]
            if rows:
                _numbers(path, rows, delimiter, width).tofile(target)
                count += len(rows)
    if count == 0:
        raise ArrayFileError(f"{os.fspath(path)}: it holds no rows of numbers")
    target.flush()
    return names, (count, width)


_BLOCK = 1 << 24  # characters at a time


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    with contextlib.suppress(csv.Error):  # of an overlong cell
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    return line.strip().split(delimiter)


def _is_header(
    path: str | os.PathLike[str], first: list[str], second: list[str] | None = None
) -> bool:
    if not any(map(_is_number, first)):
        # A line of empty cells is a row with missing numbers, not a header.
        return any(first)
    counted = [str(number) for number in range(len(first))]
    if first == ["", *counted[:-1]]:
        return True
    if first != counted or second is None:
        return False
    # The header of pandas for columns without names. Before integers it may also be a row, and so
    # may a single zero, with which many signals begin.
    whole = all(cell.lstrip("+-").isdecimal() for cell in second)
    header = not whole and len(first) > 1
    if header or len(first) > 1 or not whole:
        taken, otherwise = (
            ("a header, as pandas writes it", "write 0.0 for a number")
            if header
            else ("numbers", "begin it with # if it is a header")
        )
        warnings.warn(
            f"{os.fspath(path)}: its first line, {','.join(first)[:40]}, was taken for {taken}: "
            f"{otherwise}",
            ArrayFileWarning,
            stacklevel=2,
        )
    return header


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
        fault = f"it has {table.shape[1]} columns, expected {width}"
    for number, line in rows.items():
        cells = _cells(line, delimiter)
        if len(cells) != width:
            fault = f"line {number} has {len(cells)} columns, expected {width}, as in the first row"
            break
        if bad := [column for column, cell in enumerate(cells) if not _is_number(cell)]:
            shown = ascii(cells[bad[0]][:40])
            fault = f"line {number}, column {bad[0] + 1} is {shown}, expected a number"
            break
    raise ArrayFileError(f"{os.fspath(path)}: {fault}")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # float accepts digit groups of Python, which are not used in data
