"""NumPy's .npz: one array of it, read whole."""

import math
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from jaxgru.arrayfiles.interface import ArrayFileError, Window
from jaxgru.arrayfiles.npy import check_size, read_header

Array = np.ndarray


class NpzReader:
    """One array of a .npz file: the only one, or the one under a given key.

    An archive gives no access to its middle, so the array is read whole, here and now.

    Args:
        file: the file, open for reading in binary.
        name: what error messages call it.
        key: which array to take where there are several.

    Raises:
        ArrayFileError: the file is no zip archive or damaged, several arrays are there and none
            has the key, or the array holds no real numbers.
    """

    def __init__(self, file: IO[bytes], name: str, key: str) -> None:
        try:
            with zipfile.ZipFile(file) as archive:
                self._array = _read_member(archive, name, key)
        except ArrayFileError:
            raise
        except MemoryError:
            raise ArrayFileError(
                f"{name}: it is larger than memory, expected a .npy file, which is read in parts"
            ) from None
        except _DAMAGE as error:
            raise ArrayFileError(f"{name}: it is no .npz file, or damaged: {error}") from None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""
        return self._array.shape

    def read(self, window: Window) -> Array:
        """Return the part in the window, ``(rows, steps, F)``, of an array ``(..., T, F)``."""
        return window.take(self._array)

    def read_all(self) -> Array:
        """Return the whole array."""
        return self._array


def pack_npy(npy: IO[bytes], path: Path, key: str) -> None:
    """Write a .npz file whose only array is that of an open .npy file."""
    npy.seek(0)
    with (
        zipfile.ZipFile(path, "w") as archive,
        archive.open(f"{key}.npy", "w", force_zip64=True) as member,
    ):
        shutil.copyfileobj(npy, member, 1 << 20)


def _read_member(archive: zipfile.ZipFile, name: str, key: str) -> Array:
    members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    if len(members) == 1:
        (key,) = members
    if key not in members:
        found = ", ".join(map(ascii, sorted(members))) or "nothing"
        raise ArrayFileError(f"{name}: it holds {found}, expected one array, or one called {key!r}")
    entry, name = members[key], f"{name}, array {key!a}"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArrayFileError(f"{name}: its compression is unusual, expected deflate or none")
    with archive.open(entry) as file:
        header = read_header(file, name)
        check_size(header, entry.file_size - file.tell(), name)
        content = file.read()
    # The directory of the archive may have promised too much as well.
    check_size(header, len(content), name)
    numbers = np.frombuffer(content, header.dtype, count=math.prod(header.shape))
    return numbers.reshape(header.shape, order=header.order)


# What zipfile and zlib raise on damaged archives. RuntimeError says that one is encrypted, OSError
# that its directory points beyond the file.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
