"""Limits of the memory that is allocated for a file of weights, and reading into that memory."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgru._weights.errors import WeightsError

# Weights hardly compress, but zeros do. The arrays of any file may take this many bytes ...
SMALL = 64 * 2**20
# ... or this many times the size of the file, if that is more.
EXPANSION = 32
# The largest size of an axis, and the most axes, that an array of a GRU may have.
MAX_AXIS = 2**31 - 1
MAX_AXES = 8

_PIECE = 2**20


class Budget:
    """A budget for the arrays of a file, by the size of the file.

    A small file can declare large arrays, for example one array that is used a thousand times.
    """

    def __init__(self, file_size: int) -> None:
        self.file_size = file_size  # in bytes, with that of each file beside the first
        self._spent = 0

    def spend(self, size: int) -> None:
        """Count bytes before they are allocated; raise WeightsError if they are too many."""
        self._spent += size
        check_declared(self._spent, self.file_size)


def check_declared(declared: int, file_size: int, what: str = "its arrays") -> None:
    """Raise WeightsError if more is declared than a file of this size may hold, all in bytes."""
    allowed = max(SMALL, EXPANSION * file_size)
    if declared > allowed:
        raise WeightsError(
            f"{what} declare {declared} bytes: expected at most {allowed} in a file of {file_size} "
            "bytes"
        )


def check_held(
    name: str, shape: Sequence[int], dtype: np.dtype[Any], held: int, *, may_be_empty: bool = False
) -> int:
    """Return the number of bytes of an array; raise WeightsError unless the file has as many."""
    is_empty = may_be_empty and 0 in shape  # an empty array, whatever its other sizes are
    declared = 0 if is_empty else bytes_of(name, shape, dtype.itemsize)
    if declared != held:
        raise WeightsError(
            f"{name} declares shape {tuple(shape[:MAX_AXES])} of {dtype.name}, {declared} bytes: "
            f"expected the {held} bytes that it has"
        )
    return declared


def bytes_of(name: str, shape: Sequence[int], itemsize: int) -> int:
    """Return the number of bytes of an array; raise WeightsError for shapes beyond the limits."""
    if len(shape) > MAX_AXES or not all(0 < size <= MAX_AXIS for size in shape):
        cut = f"{tuple(shape[:MAX_AXES])}{' and more' if len(shape) > MAX_AXES else ''}"
        raise WeightsError(
            f"{name} has shape {cut}: expected at most {MAX_AXES} axes, each from 1 to {MAX_AXIS}"
        )
    return math.prod(shape) * itemsize


def fill(file: Any, target: memoryview) -> None:
    """Read exactly the bytes of a buffer; raise EOFError if the file ends earlier."""
    # In pieces, because zipfile copies all data of a call again for each 4 kB.
    while target:
        count = file.readinto(target[:_PIECE])
        if not count:
            raise EOFError("the data ends early")
        target = target[count:]
