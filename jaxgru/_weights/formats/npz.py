"""Weights in a .npz file: one layer as three arrays, or arrays under a library's names.

jaxgru writes the form of ``np.savez(path, wMatrix=W, uMatrix=U, biases=b)``, where
``W, U, b = layer.get_weights()`` are the weights of a Keras GRU layer:

============  =====================  ===========================================================
key           shape                  meaning
============  =====================  ===========================================================
``wMatrix``   ``(I, 3H)``            kernel, blocks z, r, h
``uMatrix``   ``(H, 3H)``            recurrent kernel, likewise
``biases``    ``(2, 3H)``            ``reset_after=True``; row 0 input side, row 1 state side
``biases``    ``(3H,)``              ``reset_after=False``; one bias
============  =====================  ===========================================================

There are no other fields, so the activations are tanh and sigmoid. A file without these keys is
read by the names of a library (``jaxgru._weights.libraries``).

A .npz file is a zip archive of .npy files. ``numpy.load`` allocates the declared sizes and, if
allowed, unpickles object arrays. This module compares every size with that of the file before it
allocates, and reads only plain arrays of numbers.
"""

import functools
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jaxgru._net import Backward, Net
from jaxgru._params import GRUParams
from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.conventions import Capabilities, arrays_of, both_biases, one_bias
from jaxgru._weights.defaults import TANH_SIGMOID, Fields
from jaxgru._weights.dtypes import FLOATS, NUMBERS, Unread, from_bits
from jaxgru._weights.errors import WeightsError, damaged, listed, plain, result_or_error, shown
from jaxgru._weights.formats.zip import DAMAGE, MAGIC, copy_archive, open_archive
from jaxgru._weights.libraries.finding import find
from jaxgru._weights.libraries.keras.arrays import params_of
from jaxgru._weights.limits import check_held, fill
from jaxgru._weights.results import UNNAMED, GRUsByName, LoadedGRU

KEYS = ("wMatrix", "uMatrix", "biases")
_CAPABILITIES = Capabilities("npz")
_ENDING = ".npy"
# Files of weights in archives of other tools, such as policy.pth of Stable-Baselines3.
_WEIGHTS = (
    ".pth",
    ".pt",
    ".bin",
    ".pkl",
    ".ckpt",
    ".safetensors",
    ".h5",
    ".keras",
    ".onnx",
    ".npz",
)
_MAGIC = b"\x93NUMPY"
# A header is a Python dict, which NumPy writes with these keys in this order. NumPy reads it with
# Python's parser, which may use much memory. (Python 2 wrote sizes such as 5L.)
_HEADER = re.compile(
    r"\{\s*'descr':\s*(?P<dtype>.*?),\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\((?P<shape>[\s\d,L-]*)\),?\s*\}\s*"
)
_LONGEST_HEADER = 10_000
# NumPy has no name for bfloat16: two bytes without a type.
_BFLOAT16 = re.compile(r"'[<|]V2'")
_OBJECT = "'|O'"  # the name in errors
_DTYPE = re.compile(r"'([<>=|])([bcfiu])(1|2|4|8|16)'")


def recognizes(look: FileProbe) -> bool:
    """Return whether a file is a zip archive, as every .npz file is."""
    return look.head.startswith(MAGIC)


def read(source: Source) -> Stored:
    """Return the arrays of an open .npz file."""
    return Stored(read_arrays(source), _find, rewrite=functools.partial(_rewrite, source))


def _rewrite(source: Source, arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    changed = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=False)
        changed[f"{name}{_ENDING}"] = buffer.getvalue()
    copy_archive(open_archive(source.file, source.size, "a .npz file"), path, changed)


def _find(arrays: Any, assume: Mapping[str, Any]) -> GRUsByName:
    """Return the GRUs among the arrays of a file.

    With one of the three keys, the others are required, and no other arrays are allowed.
    """
    if not arrays.keys() & set(KEYS):
        looked_for = f"{', '.join(KEYS)} of jaxgru's own files"
        found = result_or_error(find, arrays, assume, looked_for=looked_for)
        objects = [
            name
            for name, array in arrays.items()
            if isinstance(array, Unread) and array.dtype == _OBJECT
        ]
        if isinstance(found, WeightsError):
            raise _pickled(objects) if objects else found
        return found
    _check_keys(list(arrays))
    usual = {name: assume.get(name, value) for name, value in TANH_SIGMOID.items()}
    params = params_of(arrays, KEYS, Fields(assume), **usual)
    return {UNNAMED: LoadedGRU(Backward(params) if assume.get("reverse") else params)}


def write(net: Net, path: Path) -> None:
    """Write a net of one layer, given as NumPy arrays; a bias that is None as zeros."""
    params: GRUParams = _CAPABILITIES.layers(net)[0].net
    for field, value in arrays_of(params).items():
        if value.dtype not in (np.float16, np.float32, np.float64):
            raise WeightsError(
                f"{field} has dtype {value.dtype}: .npz supports only float16, float32 or float64; "
                "convert it first, with astype"
            )
    bias, recurrent_bias = both_biases(params)
    if params.reset_after:
        biases = np.stack([bias, recurrent_bias])
    else:  # both are added outside the reset gate, so one is enough
        biases = one_bias(bias, recurrent_bias, "npz")
    with open(path, "wb") as file:  # np.savez would add a suffix to a path
        np.savez(file, wMatrix=params.kernel, uMatrix=params.recurrent_kernel, biases=biases)


def read_arrays(source: Source) -> dict[str, NDArray[Any] | Unread]:
    """Return the arrays of a .npz file by name, without the suffix ``.npy``.

    They have native byte order. Arrays that are not numeric are not read.
    """
    archive = open_archive(
        source.file, source.size, "a .npz file, or a .keras file or one of torch.save"
    )
    entries = archive.infolist()
    for entry in entries:
        if not entry.filename.endswith(_ENDING):
            raise WeightsError(
                f"{shown(entry.filename)} is there: expected names that end in {_ENDING}, as "
                f"those of NumPy's arrays do{_inner([entry.filename for entry in entries])}"
            )
    return {entry.filename.removesuffix(_ENDING): _read_array(archive, entry) for entry in entries}


def _inner(names: list[str]) -> str:
    """Return the end of an error: how to read a file within an archive of another tool."""
    inner = next((name for name in names if name.endswith(_WEIGHTS)), None)
    if inner is None:
        return ""
    return f"; extract {shown(inner)} (python -m zipfile -e FILE FOLDER), and load that"


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any] | Unread:
    name = plain(entry.filename.removesuffix(_ENDING))
    whole = damaged(f"{name} is damaged", *DAMAGE, expected=": expected an array")
    with whole, archive.open(entry) as file:
        shape, is_fortran, dtype = _read_header(file)
        stored = _stored(dtype)
        if stored is None:
            return Unread(shape, shown(dtype.strip("'")))
        held = entry.file_size - file.tell()
        declared = check_held(name, shape, stored, held, may_be_empty=True)
        content = np.empty(declared, np.uint8)
        fill(file, content.data)
    array = from_bits(content.data, stored).reshape(shape, order="F" if is_fortran else "C")
    return array.astype(stored.newbyteorder("="), order="C", copy=False)


def _stored(code: str) -> np.dtype[Any] | None:
    """Return the numeric dtype in a header, None for other types."""
    if _BFLOAT16.fullmatch(code):
        return FLOATS["bfloat16"]
    known = _DTYPE.fullmatch(code)
    if known is None:
        return None
    try:
        dtype = np.dtype("".join(known.groups()))
    except TypeError:  # such as floats of one byte
        return None
    return dtype if dtype.name in NUMBERS else None


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, str]:
    start = file.read(len(_MAGIC) + 2)
    magic, version = start[: len(_MAGIC)], tuple(start[len(_MAGIC) :])
    if magic != _MAGIC:
        raise ValueError(f"it begins with {shown(magic)}: expected {_MAGIC!r}")
    # Version 3 is for records with names beyond Latin-1 only: no array of numbers.
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its .npy version is {version}: expected (1, 0) or (2, 0)")
    length = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length} bytes: expected at most {_LONGEST_HEADER}")
    header = _HEADER.fullmatch(file.read(length).decode("latin-1"))
    if header is None:
        raise ValueError("its header has no dtype, order and shape")
    shape = tuple(int(size.rstrip("L")) for size in header["shape"].split(",") if size.strip())
    return shape, header["fortran"] == "True", header["dtype"]


def _pickled(names: list[str]) -> WeightsError:
    return WeightsError(
        f"{listed(names)} is a Python object that NumPy pickled, such as a dict: expected arrays; "
        "if you trust the file, write those by numpy.savez(new_path, **numpy.load(path, "
        f"allow_pickle=True)[{shown(names[0])}].item())"
    )


def _check_keys(names: list[str]) -> None:
    wrong = {
        "missing": [key for key in KEYS if key not in names],
        "unknown": [plain(name) for name in sorted(set(names) - set(KEYS))[:5]],
    }
    found = [f"{', '.join(some)} is {what}" for what, some in wrong.items() if some]
    if found:
        raise WeightsError(f"{', and '.join(found)}: expected exactly {', '.join(KEYS)}")
