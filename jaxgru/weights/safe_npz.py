"""Reading the arrays of a .npz file without trusting it.

A .npz file is a zip archive of .npy files. ``numpy.load`` allocates what a header asks for and,
where allowed, runs what an object array holds. Here every size is compared with the file before
anything is allocated, and only plain floating-point arrays are read.
"""

import collections
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from jaxgru.weights.errors import WeightsError

# Weights hardly compress, zeros do. Arrays may be this large in any file, however small ...
_SMALL = 64 * 2**20
# ... and beyond that at most so many times the file's own size.
_EXPANSION = 32

_CHUNK = 2**20
_DTYPES = (np.float16, np.float32, np.float64)
# What zipfile, zlib and NumPy raise on damaged archives and headers. Among them OSError, for
# seeking to where a damaged directory points; MemoryError, for a header nested too deeply; and
# TokenError, as NumPy tries a header that it cannot parse again as one of Python 2.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def read_arrays(file: BinaryIO, keys: Collection[str]) -> dict[str, Any]:
    """Return the arrays of a .npz file that must hold exactly the given keys.

    Args:
        file: the open file.
        keys: the names expected, without ``.npy``.

    Returns:
        One NumPy array for each key, of type float16, float32 or float64 in native byte order.

    Raises:
        WeightsError: the archive is damaged, holds other keys or one twice, declares more than
            it has, or an array is none of floating-point numbers.
    """
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGE as error:
        raise WeightsError(
            f"the zip archive is damaged or cut short ({_first_line(error)}): expected a .npz file"
        ) from error
    with archive:
        entries = archive.infolist()
        _check_keys([entry.filename for entry in entries], keys)
        _check_sizes(entries, os.fstat(file.fileno()).st_size)
        return {
            entry.filename.removesuffix(".npy"): _read_array(archive, entry) for entry in entries
        }


def _check_keys(names: list[str], keys: Collection[str]) -> None:
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise WeightsError(f"{_shown(name)} is there {count} times: expected once")
    expected = [f"{key}.npy" for key in keys]
    wrong = {
        "missing": [name for name in expected if name not in names],
        "unknown": sorted(set(names) - set(expected))[:5],
    }
    found = [f"{', '.join(map(_shown, some))} is {what}" for what, some in wrong.items() if some]
    if found:
        raise WeightsError(f"{', and '.join(found)}: expected exactly {', '.join(keys)}")


def _check_sizes(entries: list[zipfile.ZipInfo], file_size: int) -> None:
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(
                f"{_shown(entry.filename)} is compressed by method {entry.compress_type}: expected "
                "none or deflate, as NumPy writes them"
            )
        stored = entry.compress_type == zipfile.ZIP_STORED
        if entry.compress_size > file_size or (stored and entry.file_size > file_size):
            raise WeightsError(
                f"{_shown(entry.filename)} declares {max(entry.compress_size, entry.file_size)} "
                f"bytes: expected at most the file's own {file_size}"
            )
    declared = sum(entry.file_size for entry in entries)
    allowed = max(_SMALL, _EXPANSION * file_size)
    if declared > allowed:
        raise WeightsError(
            f"its arrays declare {declared} bytes: expected at most {allowed} in a file of "
            f"{file_size} bytes"
        )


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    key = _shown(entry.filename)
    try:
        with archive.open(entry) as file:
            shape, fortran_order, dtype = _read_header(file)
            if dtype.newbyteorder("=") not in _DTYPES:
                raise WeightsError(
                    f"{key} has dtype {dtype}: expected floating-point numbers (float16, float32 "
                    "or float64)"
                )
            if min(shape, default=1) < 1:
                raise WeightsError(f"{key} has shape {shape}: expected every size to be 1 or more")
            wanted = math.prod(shape) * dtype.itemsize
            held = entry.file_size - file.tell()
            if wanted != held:
                raise WeightsError(
                    f"{key} declares shape {shape} of {dtype}, {wanted} bytes: expected the {held} "
                    "bytes that it has"
                )
            content = np.empty(wanted, np.uint8)
            _fill(file, content.data)
        array = content.view(dtype).reshape(shape, order="F" if fortran_order else "C")
        return array.astype(dtype.newbyteorder("="), order="C", copy=False)
    except WeightsError:
        raise
    # RuntimeError is how zipfile says that an entry is encrypted.
    except (*_DAMAGE, RuntimeError) as error:
        raise WeightsError(f"{key} is damaged ({_first_line(error)}): expected an array") from error


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    # Version 3 is for records with names beyond Latin-1 only: no array of numbers.
    raise ValueError(f"its .npy version is {version}: expected (1, 0) or (2, 0)")


def _fill(file: Any, target: memoryview) -> None:
    """Read in pieces: zipfile joins what one call reads by copying, again for each 4 kB."""
    while target:
        count = file.readinto(target[:_CHUNK])
        if not count:
            raise EOFError("the data ends early")
        target = target[count:]


def _shown(name: str) -> str:
    """Return an entry's key for a message: one line, and not too long a one."""
    key = name.removesuffix(".npy")
    if key == name:
        return f"{name[:40]!a} (no .npy)"
    return key if key.isidentifier() and len(key) < 40 else ascii(key[:40])


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
