"""The one place that chooses a format, by the ending of a file's name."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from jaxgru.arrayfiles.interface import ArrayFileError, ArrayReader, ArrayWriter
from jaxgru.arrayfiles.npy import NpyReader, NpyWriter
from jaxgru.arrayfiles.npz import NpzReader, pack_npy
from jaxgru.arrayfiles.text import TextReader, write_text
from jaxgru.atomic import replacing

FORMATS = (".npy", ".npz", ".csv", ".txt")


@contextlib.contextmanager
def open_array(path: str | os.PathLike[str], key: str) -> Iterator[ArrayReader]:
    r"""Give a reader of the array in a file, and close the file at the end.

    Args:
        path: a .npy, .npz, .csv or .txt file. Of a .npy and a text file no more than the window
            asked for is in memory; an array of a .npz file is read whole.
        key: which array of a .npz file to take, where it holds several.

    Yields:
        The reader: its ``shape``, ``read(window)`` and ``read_all()``.

    Raises:
        ArrayFileError: the ending is unknown, the content does not fit it, or this is a directory.
        OSError: the file is missing or may not be read.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "numbers.csv")
    >>> _ = path.write_text("a,b\n1,2\n3,4.5\n")
    >>> with open_array(path, key="inputs") as reader:
    ...     print(reader.shape, reader.read_all().tolist())
    (2, 2) [[1.0, 2.0], [3.0, 4.5]]

    Source: the .npy format is NumPy's, ``numpy.lib.format``.
    """
    ending, name = _format(path), os.fspath(path)
    # Asked before opening: to open a pipe is to wait for whoever writes to it.
    if not stat.S_ISREG(os.stat(path).st_mode):
        kind = "a directory" if Path(path).is_dir() else "no regular file"
        raise ArrayFileError(f"{name}: it is {kind}, expected a file of numbers")
    with open(path, "rb") as file:
        if ending == ".npy":
            yield NpyReader(file, name)
        elif ending == ".npz":
            yield NpzReader(file, name, key)
        else:
            yield TextReader(file, name, b"," if ending == ".csv" else None)


@contextlib.contextmanager
def create_array(
    path: str | os.PathLike[str], shape: tuple[int, ...], dtype: Any, key: str
) -> Iterator[ArrayWriter]:
    r"""Give a writer of an array, whose file takes its place once the block succeeds.

    Args:
        path: a .npy, .npz, .csv or .txt file. Text holds one sequence, ``(T, F)``.
        shape: the shape of the whole array, ``(..., T, F)``.
        dtype: its type, float32 or float64.
        key: what the array is called in a .npz file.

    Yields:
        The writer: its ``write(window, part)`` takes the parts in any order.

    Raises:
        ArrayFileError: the ending is unknown, or text is asked to hold a batch.
        OSError: the folder is missing or not writable, or the disk is full.

    >>> import pathlib, tempfile, numpy as np
    >>> from jaxgru.arrayfiles import Window
    >>> path = pathlib.Path(tempfile.mkdtemp(), "numbers.csv")
    >>> with create_array(path, (2, 2), np.float32, key="outputs") as writer:
    ...     writer.write(Window(slice(0, 1), slice(1, 2)), np.array([[[3.0, 4.5]]]))
    ...     writer.write(Window(slice(0, 1), slice(0, 1)), np.array([[[1.0, 2.0]]]))
    >>> path.read_text()
    '1,2\n3,4.5\n'

    Source: the .npy format is NumPy's, ``numpy.lib.format``.
    """
    ending, name = _format(path), os.fspath(path)
    if ending in (".csv", ".txt") and len(shape) != 2:
        raise ArrayFileError(
            f"{name}: it cannot hold shape {shape}, as text holds one sequence, "
            "a batch goes to .npy or .npz"
        )
    with replacing(path) as temporary:
        if ending == ".npy":
            with open(temporary, "r+b") as file:
                yield NpyWriter(file, name, shape, dtype)
            return
        # The other formats have no place for a part that comes out of order: gather the parts in
        # a file without a name, which the system removes whatever happens, and convert at the end.
        with tempfile.TemporaryFile(dir=temporary.parent) as gathered:
            yield NpyWriter(gathered, name, shape, dtype)
            _convert(gathered, temporary, ending, key)


def _format(path: str | os.PathLike[str]) -> str:
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ArrayFileError(
            f"{os.fspath(path)}: its ending is {ending!r}, expected one of {', '.join(FORMATS)}"
        )
    return ending


def _convert(gathered: IO[bytes], path: Path, ending: str, key: str) -> None:
    gathered.flush()
    gathered.seek(0)
    if ending == ".npz":
        pack_npy(gathered, path, key)
    else:
        write_text(NpyReader(gathered, os.fspath(path)), path, "," if ending == ".csv" else " ")
