"""Reading the arrays of a .npz file without trusting it.

A .npz file is a zip archive of .npy files. ``numpy.load`` allocates what a header asks for and,
where allowed, runs what an object array holds. Here every size is compared with the file before
anything is allocated, and only plain floating-point arrays are read.
"""

import tokenize
import warnings
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.floats import FLOATS, Unread
from jaxgru.weights.found import Source
from jaxgru.weights.limits import bytes_of
from jaxgru.weights.zips import DAMAGE, fill, first_line, open_archive, shown

_ENDING = ".npy"
# What NumPy raises on a damaged header beyond what zipfile does: TokenError, as it tries one that
# it cannot parse again as one of Python 2.
_HEADER_DAMAGE = (RecursionError, SyntaxError, TypeError, tokenize.TokenError)


def read_arrays(source: Source) -> dict[str, NDArray[Any] | Unread]:
    """Return the arrays of a .npz file by their names, without the ending ``.npy``.

    They are in native byte order. One that is not of floating-point numbers is left unread.

    Raises:
        WeightsError: the archive is damaged, has a name twice, holds what is no array, or declares
            more than it has.
    """
    with open_archive(source.file, source.size, "a .npz file") as archive:
        entries = archive.infolist()
        for entry in entries:
            if not entry.filename.endswith(_ENDING):
                raise WeightsError(
                    f"{shown(entry.filename)} is there: expected names that end in {_ENDING}, as "
                    "those of NumPy's arrays do"
                )
        return {
            entry.filename.removesuffix(_ENDING): _read_array(archive, entry) for entry in entries
        }


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any] | Unread:
    name = plain(entry.filename.removesuffix(_ENDING))
    try:
        with archive.open(entry) as file:
            shape, fortran_order, dtype = _read_header(file)
            if dtype.newbyteorder("=").name not in FLOATS:
                return Unread(shape, str(dtype))
            declared = 0 if 0 in shape else bytes_of(name, shape, dtype.itemsize)
            held = entry.file_size - file.tell()
            if declared != held:
                raise WeightsError(
                    f"{name} declares shape {shape} of {dtype}, {declared} bytes: expected the "
                    f"{held} bytes that it has"
                )
            content = np.empty(declared, np.uint8)
            fill(file, content.data)
            file.read(1)  # zipfile compares checksums only once it has met the end
        array = content.view(dtype).reshape(shape, order="F" if fortran_order else "C")
        return array.astype(dtype.newbyteorder("="), order="C", copy=False)
    except WeightsError:
        raise
    except (*DAMAGE, *_HEADER_DAMAGE) as error:
        raise WeightsError(f"{name} is damaged ({first_line(error)}): expected an array") from error


def plain(key: str) -> str:
    """Return an array's name for a message: one line, and not too long a one."""
    return key if key.isidentifier() and len(key) <= 40 else shown(key)


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        # Version 3 is for records with names beyond Latin-1 only: no array of numbers.
        raise ValueError(f"its .npy version is {version}: expected (1, 0) or (2, 0)")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python 2 wrote it, or that a dtype has an old name
        return read(file)
