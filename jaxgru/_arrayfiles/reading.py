"""Arrays in files, read in parts."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxgru._arrayfiles.interface import ArrayFileError, Window, format_of, mapped
from jaxgru._arrayfiles.text import convert_text

Array = np.ndarray


class ArrayReader:
    """An array ``(..., T, F)`` in an open file, or some of its columns.

    Args:
        name: the name in error messages.
        whole: returns the array, if possible without reading it.
        names: the names of the columns, if the file has a header.
        chosen: the selected columns, from 0; all if None.
    """

    def __init__(
        self,
        name: str,
        whole: Callable[[], Array],
        names: Sequence[str] = (),
        chosen: Sequence[int] | None = None,
    ) -> None:
        self.name, self.names = name, tuple(names)
        self._whole, self._chosen = whole, chosen
        shape, dtype = whole().shape, whole().dtype
        if dtype.kind not in "biuf":
            raise ArrayFileError(f"{name}: it has dtype {dtype}: expected real numbers")
        self.shape = shape if chosen is None else (*shape[:-1], len(chosen))

    def read(self, window: Window) -> Array:
        """Return the part in the window, ``(rows, steps, F)``, of an array ``(..., T, F)``."""
        # Mapped again for each part, because the pages of a mapping count as memory of the process
        # until it is closed.
        part = window.take(self._whole())
        return part if self._chosen is None else part[..., self._chosen]

    def read_all(self) -> Array:
        """Return the whole array."""
        whole = self._whole()
        return np.array(whole if self._chosen is None else whole[..., self._chosen])

    def columns(self, wanted: str) -> list[int]:
        """Return the columns, from 0, of a list with commas of names or of numbers from 1.

        Raises ArrayFileError if there is no such column, or one is given twice.
        """
        numbers = [str(number) for number in range(1, self.shape[-1] + 1)] if self.shape else []
        found: list[int] = []
        for name in (name.strip() for name in wanted.split(",")):
            known = self.names if name in self.names else numbers
            if name not in known:
                named = f", or one of {', '.join(self.names)}" if self.names else ""
                raise ArrayFileError(
                    f"{self.name}: it has no column {name!r}: expected 1 to {len(numbers)}{named}"
                )
            if known.index(name) in found:
                raise ArrayFileError(f"{self.name}: column {name!r} is given twice: expected once")
            found.append(known.index(name))
        return found

    def only(self, columns: Sequence[int]) -> "ArrayReader":
        """Return a reader of some columns, from 0, in the order given."""
        names = [self.names[column] for column in columns] if self.names else ()
        return ArrayReader(self.name, self._whole, names, columns)


@contextlib.contextmanager
def open_array(path: str | os.PathLike[str], key: str) -> Iterator[ArrayReader]:
    """Yield a reader of the array in a file, and close the file at the end.

    Args:
        path: a .npy, .npz, .csv or .txt file. An array of a .npz file is read whole, others window
            by window; text is converted to numbers in a temporary file.
        key: the name of the array in a .npz file with several.

    Raises:
        ArrayFileError: the suffix is unknown, the content does not fit it, or this is a directory.
        OSError: the file is missing or may not be read.

    Warns:
        ArrayFileWarning: the first line of a text is 0,1,2..., which could be a header.
    """
    ending, name = format_of(path), os.fspath(path)
    # Checked before opening, because opening a pipe waits for its writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        kind = "a directory" if Path(path).is_dir() else "not a regular file"
        raise ArrayFileError(f"{name}: it is {kind}: expected a file of numbers")
    if ending == ".npy":
        yield ArrayReader(name, lambda: _map_npy(path))
    elif ending == ".npz":
        array = _read_npz(path, name, key)
        yield ArrayReader(name, lambda: array)
    else:
        with tempfile.TemporaryFile() as file:
            names, shape = convert_text(path, ",;" if ending == ".csv" else "", file)
            yield ArrayReader(name, lambda: mapped(file, shape, np.float64), names)


def _map_npy(path: str | os.PathLike[str]) -> Array:
    with _damage_as_error(path, ".npy"):
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))


def _read_npz(path: str | os.PathLike[str], name: str, key: str) -> Array:
    with (
        _damage_as_error(path, ".npz"),
        open(path, "rb") as file,
        np.lib.npyio.NpzFile(file) as arrays,
    ):
        if len(arrays.files) == 1:
            (key,) = arrays.files
        if key in arrays.files:
            array = arrays[key]
            if isinstance(array, np.ndarray):
                return array
            raise ValueError(f"{key!a} is not an array")
        found = ", ".join(map(ascii, sorted(arrays.files))) or "none"
    raise ArrayFileError(f"{name}: its arrays are {found}: expected one, or one called {key!r}")


@contextlib.contextmanager
def _damage_as_error(path: str | os.PathLike[str], ending: str) -> Iterator[None]:
    """Convert the errors of NumPy, zipfile and zlib for a damaged file to ArrayFileError."""
    try:
        yield
    except MemoryError:
        raise ArrayFileError(
            f"{os.fspath(path)}: it is larger than memory: expected a .npy file, which is read in "
            "parts"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArrayFileError(
            f"{os.fspath(path)}: it is damaged or not a {ending} file: {reason}"
        ) from None
