"""Arrays to files, written in parts."""

import contextlib
import errno
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from jaxgru._arrayfiles.interface import TEXT, ArrayFileError, Window, format_of, mapped
from jaxgru._atomic import replacing


class ArrayWriter:
    """An array ``(..., T, F)`` in a file that is written window by window.

    Not a mapping, because on a full disk that would end the process.

    Args:
        file: the file, open for binary writing, at the position of the first number.
        name: the name in error messages.
        shape: the shape of the whole array.
        dtype: its type.
    """

    def __init__(
        self, file: IO[bytes], name: str, shape: tuple[int, ...], dtype: DTypeLike
    ) -> None:
        self._file, self._shape, self._dtype = file, shape, np.dtype(dtype)
        self._offset = file.tell()
        file.flush()
        _reserve(file, name, self._offset + math.prod(shape) * self._dtype.itemsize)

    def write(self, window: Window, part: np.ndarray) -> None:
        """Write the part in the window, ``(rows, steps, F)``; parts may come in any order."""
        time, features = self._shape[-2:]
        part = np.ascontiguousarray(part, self._dtype)
        for row, sequence in enumerate(part, start=window.rows.start):
            first = (row * time + window.steps.start) * features
            self._file.seek(self._offset + first * self._dtype.itemsize)
            self._file.write(sequence.data)


@contextlib.contextmanager
def create_array(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    key: str,
    names: Sequence[str] = (),
) -> Iterator[ArrayWriter]:
    """Yield a writer of an array; an existing file is replaced if the block succeeds.

    Args:
        path: a .npy, .npz, .csv or .txt file. Text can hold one sequence, ``(T, F)``.
        shape: the shape of the whole array, ``(..., T, F)``.
        dtype: its type, float32 or float64.
        key: the name of the array in a .npz file.
        names: the columns' names, the header of a .csv file.

    Raises:
        ArrayFileError: the suffix is unknown, or the array is a batch and the file text.
        OSError: the folder is missing or not writable, or the disk is full.
    """
    ending, name = _checked_ending(path, shape), os.fspath(path)
    with replacing(path) as temporary:
        if ending == ".npy":
            with open(temporary, "r+b") as file:
                descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                yield ArrayWriter(file, name, shape, dtype)
            return
        # The other formats are written in order: collect the parts in an unnamed temporary file,
        # and convert it at the end.
        with tempfile.TemporaryFile(dir=temporary.parent) as gathered:
            yield ArrayWriter(gathered, name, shape, dtype)
            gathered.flush()
            _convert(mapped(gathered, shape, dtype), temporary, ending, key, names)


def write_array(
    path: str | os.PathLike[str], array: np.ndarray, key: str, names: Sequence[str] = ()
) -> None:
    """Write a whole array of any shape, ``(N, F)`` in text; else as ``create_array``."""
    ending = _checked_ending(path, array.shape)
    with replacing(path) as temporary:
        if ending == ".npy":
            np.save(temporary, array)
        else:
            _convert(array, temporary, ending, key, names)


def _checked_ending(path: str | os.PathLike[str], shape: tuple[int, ...]) -> str:
    ending = format_of(path)
    if ending in TEXT and len(shape) != 2:
        raise ArrayFileError(
            f"{os.fspath(path)}: the array has shape {shape}: expected (T, F), as text has a "
            "single sequence; write a batch to .npy or .npz"
        )
    return ending


def _convert(array: np.ndarray, path: Path, ending: str, key: str, names: Sequence[str]) -> None:
    if ending == ".npz":
        np.savez(path, **{key: array})  # type: ignore[arg-type]
    else:
        # Enough digits to distinguish any two numbers of the type.
        digits = 9 if array.dtype.itemsize <= 4 else 17
        is_csv = ending == ".csv"
        header = ",".join(names) if is_csv else ""
        form = "%d" if array.dtype.kind in "iu" else f"%.{digits}g"
        np.savetxt(path, array, form, "," if is_csv else " ", header=header, comments="")


def _reserve(file: IO[bytes], name: str, size: int) -> None:
    """Reserve the disk space of a file, because writing may take hours."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        # Other errors mean that the file system cannot reserve space.
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(error.errno, error.strerror, name) from None
