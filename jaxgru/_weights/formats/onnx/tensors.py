"""The conversion between TensorProto and NumPy arrays, with every size checked first.

A model may have weights in other files, which are read only if that is allowed.
"""

import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.limits import MAX_AXES, Budget, bytes_of, check_held

# TensorProto.DataType of onnx.proto, for weights, shapes and other numbers.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
    12: np.dtype(np.uint32),
    13: np.dtype(np.uint64),
    16: np.dtype(ml_dtypes.bfloat16),
}
DATA_TYPES = {dtype: number for number, dtype in DTYPES.items()}
# The field of the numbers if not in raw_data; 16-bit types are stored as 32 bits.
_TYPED = {
    1: "float_data",
    2: "int32_data",
    3: "int32_data",
    4: "int32_data",
    5: "int32_data",
    6: "int32_data",
    7: "int64_data",
    9: "int32_data",
    11: "double_data",
    12: "uint64_data",
    13: "uint64_data",
}
_HALVES = (10, 16)
_IS_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL


_KEYS = ("location", "offset", "length", "checksum", "basepath")


class External:
    """The external data of a model in a folder (None: not allowed)."""

    def __init__(self, folder: Path | None, budget: Budget) -> None:
        self._folder = folder
        self.budget = budget
        self._counted: set[str] = set()

    def read(self, name: str, entries: Iterable[Any], size: int) -> bytes:
        """Return the bytes of a tensor by its ``external_data``, of the length of its shape."""
        if self._folder is None:
            raise WeightsError(
                f"{name} has its data in another file: expected it in the model, or "
                "external_data=True and a file in the model's folder"
            )
        given = _by_key(name, entries)
        offset = _number(name, "offset", given.get("offset", "0"))
        length = _number(name, "length", given.get("length", str(size)))
        if length != size:
            raise WeightsError(f"{name} has {length} bytes of external data: expected {size}")
        path = _inside(name, self._folder, given.get("location", ""))
        try:
            status = os.stat(path)
            # Checked before opening: opening a pipe waits for its writer.
            if not stat.S_ISREG(status.st_mode):
                raise WeightsError(f"{name} has its data in no regular file")
            if status.st_nlink > 1:
                raise WeightsError(
                    f"{name} has its data in a file with {status.st_nlink} names (hard links): "
                    "expected one"
                )
            if offset + length > status.st_size:
                raise WeightsError(
                    f"{name} has its data at bytes {offset} to {offset + length} of a file of "
                    f"{status.st_size}: expected them within it"
                )
            if path not in self._counted:
                self._counted.add(path)
                self.budget.file_size += status.st_size
            self.budget.spend(length)
            with open(path, "rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise WeightsError(
                f"{name} has its data in a file that cannot be read: {error.strerror}"
            ) from None


def _by_key(name: str, entries: Iterable[Any]) -> dict[str, str]:
    given: dict[str, str] = {}
    for entry in entries:
        if entry.key not in _KEYS or entry.key in given or not isinstance(entry.value, str):
            raise WeightsError(
                f"{name} has {shown(entry.key)} among its external data: expected each of "
                f"{', '.join(_KEYS)} once at most"
            )
        given[entry.key] = entry.value
    return given


def _number(name: str, key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise WeightsError(f"{name} has {key} {shown(value)}: expected a number of bytes")
    return int(value)


def _inside(name: str, folder: Path, location: str) -> str:
    """Return the path of a file in the folder or a subfolder, without links."""
    # With the separators of all systems, as models are copied between them.
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    is_plain = location and "\0" not in location and ".." not in windows.parts
    if not is_plain or posix.is_absolute() or windows.anchor:
        raise WeightsError(
            f"{name} has its data in {shown(location)}: expected a relative path within the "
            "model's folder"
        )
    expected = os.path.join(os.path.realpath(folder), *posix.parts)
    if os.path.normcase(os.path.realpath(expected)) != os.path.normcase(expected):
        raise WeightsError(f"{name} has its data in {shown(location)}: expected no link on the way")
    return expected


def to_array(tensor: Any, external: External) -> NDArray[Any]:
    """Return the numbers of a TensorProto."""
    name = f"tensor {shown(tensor.name)}"
    if tensor.data_type not in DTYPES:
        raise WeightsError(
            f"{name} has data type {tensor.data_type}: expected float16, bfloat16, float32 or "
            "float64"
        )
    dtype = DTYPES[tensor.data_type]
    shape = tuple(tensor.dims[: MAX_AXES + 1])  # there may be a million
    size = bytes_of(name, shape, dtype.itemsize)
    if tensor.HasField("segment"):
        raise WeightsError(f"{name} is a segment of another: expected a whole one")
    if tensor.data_location == _IS_EXTERNAL:
        raw = external.read(name, tensor.external_data, size)
    else:
        external.budget.spend(size)
        if not tensor.HasField("raw_data"):
            return _from_typed(name, tensor, dtype, shape)
        raw = tensor.raw_data
    check_held(name, shape, dtype, len(raw))
    return _from_bits(np.frombuffer(raw, f"<u{dtype.itemsize}"), dtype).reshape(shape)


def to_tensor(onnx: Any, name: str, array: NDArray[Any]) -> Any:
    """Return an array as a TensorProto; ``onnx`` is the library."""
    bits = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    return onnx.TensorProto(
        name=name,
        data_type=DATA_TYPES[array.dtype],
        dims=array.shape,
        raw_data=bits.astype(f"<u{array.dtype.itemsize}").tobytes(),
    )


def _from_typed(
    name: str, tensor: Any, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    is_half = tensor.data_type in _HALVES
    field = "int32_data" if is_half else _TYPED[tensor.data_type]
    values = getattr(tensor, field)
    if len(values) != math.prod(shape):
        raise WeightsError(
            f"{name} has shape {shape} and {len(values)} numbers in {field}: expected "
            f"{math.prod(shape)}"
        )
    if field == "uint64_data":
        wide = np.array(values, np.uint64)
        if np.any(wide > np.iinfo(dtype).max):
            raise WeightsError(f"{name} has numbers in {field} beyond {dtype}")
        return wide.astype(dtype).reshape(shape)
    if field != "int32_data":
        return np.array(values, dtype).reshape(shape)
    bits = np.array(values, np.int32)
    if dtype == np.bool_:
        return bits.astype(np.bool_).reshape(shape)
    held = np.iinfo(np.uint16 if is_half else dtype)
    if np.any((bits < held.min) | (bits > held.max)):
        raise WeightsError(
            f"{name} has numbers in int32_data beyond {held.bits} bits: expected {dtype}"
        )
    if not is_half:
        return bits.astype(dtype).reshape(shape)
    return _from_bits(bits.astype(np.uint16), dtype).reshape(shape)


def _from_bits(bits: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    native: NDArray[Any] = bits.astype(bits.dtype.newbyteorder("="), copy=False)
    return native.astype(np.bool_) if dtype == np.bool_ else native.view(dtype)
