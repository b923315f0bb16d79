"""NumPy's .npy: its header checked, its numbers read and written where they lie in the file."""

import errno
import math
import os
from typing import IO, Any, NamedTuple

import numpy as np

from jaxgru.arrayfiles.interface import ArrayFileError, Window

Array = np.ndarray


class NpyReader:
    """The array of an open .npy file, read a window at a time.

    Args:
        file: the file, open for reading in binary, at its start.
        name: what error messages call it.

    Raises:
        ArrayFileError: the file is no .npy file, is truncated, or holds no real numbers.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._header = read_header(file, name)
        self._offset = file.tell()
        there = os.fstat(file.fileno()).st_size - self._offset
        check_size(self._header, there, name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""
        return self._header.shape

    def read(self, window: Window) -> Array:
        """Return the part in the window, ``(rows, steps, F)``, of an array ``(..., T, F)``."""
        return window.take(self._map())

    def read_all(self) -> Array:
        """Return the whole array."""
        return np.array(self._map())

    def _map(self) -> Array:
        # Anew for each part: a mapping's pages count as this process's memory until it is dropped,
        # so that one kept open would grow to the size of the file.
        shape, dtype, order = self._header
        if 0 in shape:  # nothing to map, which is refused
            return np.empty(shape, dtype)
        return np.asarray(np.memmap(self._file, dtype, "r", self._offset, shape, order))


class NpyWriter:
    """A .npy file of known shape, written a window at a time.

    Args:
        file: the file, empty and open for writing in binary.
        name: what error messages call it.
        shape: the shape of the whole array, at least 2 axes.
        dtype: its type.

    Raises:
        OSError: the disk has no room for the array (told at once, where the system can).
    """

    def __init__(self, file: IO[bytes], name: str, shape: tuple[int, ...], dtype: Any) -> None:
        self._file, self._shape, self._dtype = file, shape, np.dtype(dtype)
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        self._offset = file.tell()
        file.flush()
        size = self._offset + math.prod(shape) * self._dtype.itemsize
        _reserve(file, name, size)

    def write(self, window: Window, part: Array) -> None:
        """Write the part in the window, ``(rows, steps, F)``; parts may come in any order."""
        time, features = self._shape[-2:]
        part = np.ascontiguousarray(part, self._dtype)
        for row, sequence in enumerate(part, start=window.rows.start):
            first = (row * time + window.steps.start) * features
            self._file.seek(self._offset + first * self._dtype.itemsize)
            self._file.write(sequence.data)


def _reserve(file: IO[bytes], name: str, size: int) -> None:
    """Take the disk space of a file now, as its end may be hours away."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        # Any other error is of a file system that cannot reserve, and may well write.
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(error.errno, error.strerror, name) from None


class Header(NamedTuple):
    """What a .npy header says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Any  # "C" or "F"


def read_header(file: IO[bytes], name: str) -> Header:
    """Read the header of a .npy file, and leave the file at the first number.

    Raises ArrayFileError unless it is well formed and promises real numbers.
    """
    magic = file.read(len(_MAGIC) + 2)
    if not magic:
        raise ArrayFileError(f"{name}: it is empty, expected a .npy file")
    if not magic.startswith(_MAGIC):
        raise ArrayFileError(f"{name}: it starts with {magic[:6]!r}, expected a .npy file")
    try:
        version = tuple(magic[len(_MAGIC) :])
        read = _HEADERS[version]
    except KeyError:
        raise ArrayFileError(f"{name}: its .npy version {version} is unknown") from None
    try:
        shape, fortran_order, dtype = read(file)
    except Exception as error:  # the header is a Python literal: there are many ways to fail
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArrayFileError(f"{name}: it has a damaged .npy header: {reason}") from None
    if dtype.hasobject:
        raise ArrayFileError(f"{name}: it holds Python objects, which are never loaded")
    if dtype.kind not in "biuf":
        raise ArrayFileError(f"{name}: it has dtype {dtype}, expected real numbers")
    if min(shape, default=0) < 0:
        raise ArrayFileError(f"{name}: it has a damaged .npy header: shape {shape}")
    return Header(shape, dtype, "F" if fortran_order else "C")


def check_size(header: Header, there: int, name: str) -> None:
    """Raise ArrayFileError where a file holds fewer bytes than its header promises."""
    promised = math.prod(header.shape) * header.dtype.itemsize
    if there < promised:
        raise ArrayFileError(
            f"{name}: it is cut short, as its shape {header.shape} of {header.dtype} takes "
            f"{promised} bytes, and {there} are there"
        )


_MAGIC = b"\x93NUMPY"
# Version 3 differs from 2 only in allowing field names beyond Latin-1, of structured arrays.
_HEADERS: dict[tuple[int, ...], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
