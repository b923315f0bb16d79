"""Reading the arrays of a .npz file without trusting it.

A .npz file is a zip archive of .npy files. ``numpy.load`` allocates what a header asks for and,
where allowed, runs what an object array holds. Here every size is compared with the file before
anything is allocated, and only plain floating-point arrays are read.
"""

import re
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.contract import Source
from jaxgru.weights.dtypes import Unread
from jaxgru.weights.errors import WeightsError, first_line, shown
from jaxgru.weights.formats.zip import DAMAGE, fill, open_archive
from jaxgru.weights.limits import bytes_of

_ENDING = ".npy"
_MAGIC = b"\x93NUMPY"
# A header is a dict as Python writes it, by NumPy always with these keys in this order. NumPy reads
# it with Python's parser, which can be made to use much memory. (Python 2 wrote sizes as in 5L.)
_HEADER = re.compile(
    r"\{\s*'descr':\s*(?P<dtype>.*?),\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\((?P<shape>[\s\d,L-]*)\),?\s*\}\s*"
)
_LONGEST_HEADER = 10_000
_DTYPE = re.compile(r"'([<>=|])f([248])'")


def read_arrays(source: Source) -> dict[str, NDArray[Any] | Unread]:
    """Return the arrays of a .npz file by their names, without the ending ``.npy``.

    They are in native byte order. One that is not of floating-point numbers is left unread.

    Raises:
        WeightsError: the archive is damaged, has a name twice, holds what is no array, or declares
            more than it has.
    """
    with open_archive(
        source.file, source.size, "a .npz file, or a .keras file or one of torch.save"
    ) as archive:
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
            shape, is_fortran, dtype = _read_header(file)
            if (known := _DTYPE.fullmatch(dtype)) is None:
                return Unread(shape, shown(dtype.strip("'")))
            stored = np.dtype(f"{known[1]}f{known[2]}")
            declared = 0 if 0 in shape else bytes_of(name, shape, stored.itemsize)
            held = entry.file_size - file.tell()
            if declared != held:
                raise WeightsError(
                    f"{name} declares shape {shape} of {stored.name}, {declared} bytes: expected "
                    f"the {held} bytes that it has"
                )
            content = np.empty(declared, np.uint8)
            fill(file, content.data)
            file.read(1)  # zipfile compares checksums only once it has met the end
    except DAMAGE as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{name} is damaged ({first_line(error)}): expected an array") from error
    array = content.view(stored).reshape(shape, order="F" if is_fortran else "C")
    return array.astype(stored.newbyteorder("="), order="C", copy=False)


def plain(key: str) -> str:
    """Return an array's name for a message: one line, and not too long a one."""
    return key if key.isidentifier() and len(key) <= 40 else shown(key)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, str]:
    start = file.read(len(_MAGIC) + 2)
    magic, version = start[: len(_MAGIC)], tuple(start[len(_MAGIC) :])
    if magic != _MAGIC:
        raise ValueError(f"it begins with {magic!r}: expected {_MAGIC!r}")
    # Version 3 is for records with names beyond Latin-1 only: no array of numbers.
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its .npy version is {version}: expected (1, 0) or (2, 0)")
    length = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length} bytes: expected at most {_LONGEST_HEADER}")
    header = _HEADER.fullmatch(file.read(length).decode("latin-1"))
    if header is None:
        raise ValueError("its header says no dtype, order and shape")
    shape = tuple(int(size.rstrip("L")) for size in header["shape"].split(",") if size.strip())
    return shape, header["fortran"] == "True", header["dtype"]
