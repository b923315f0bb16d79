"""What the values of an HDF5 dataset or attribute are: their shape and their type."""

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import Cursor
from jaxgru.weights.limits import MAX_AXES

_FLOAT, _STRING, _OPAQUE, _VARIABLE = 1, 3, 5, 9
# The rest is never read, only named in errors.
_OTHERS = {
    0: "integers",
    2: "times",
    4: "bits",
    6: "compounds",
    7: "references",
    8: "enumerations",
    9: "sequences",
    10: "arrays",
    11: "complex numbers",
}
# A float's layout: size, then exponent's place and size, mantissa's place and size, and bias.
_LAYOUTS: dict[tuple[int, ...], Any] = {
    (2, 10, 5, 0, 10, 15): np.dtype(np.float16),
    (2, 7, 8, 0, 7, 127): np.dtype(ml_dtypes.bfloat16),
    (4, 23, 8, 0, 23, 127): np.dtype(np.float32),
    (8, 52, 11, 0, 52, 1023): np.dtype(np.float64),
}


class Type(NamedTuple):
    """The type of a value."""

    size: int  # in bytes, where the value itself is kept
    dtype: np.dtype[Any] | None = None  # of floating-point numbers
    is_text: bool = False
    is_variable: bool = False  # text kept elsewhere, in a heap
    is_opaque: bool = False
    name: str = "floating-point numbers"  # for errors


def read_extent(space: Cursor, what: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the shape of a dataspace, and what it may grow to; None where there is no value."""
    version = space.number(1)
    if version not in (1, 2):
        raise WeightsError(f"{what} has a dataspace of version {version}: expected 1 or 2")
    axes = space.number(1)
    if axes > MAX_AXES:
        raise WeightsError(f"{what} has {axes} axes: expected at most {MAX_AXES}")
    has_limits = space.number(1) & 1
    if version == 1:
        space.skip(5)
    elif space.number(1) == 2:
        return None
    shape = tuple(space.number(8) for _ in range(axes))
    return shape, tuple(space.number(8) for _ in range(axes)) if has_limits else shape


def read_type(message: Cursor, what: str) -> Type:
    """Return the type that a datatype message declares."""
    head = message.number(1)
    class_, version = head & 0x0F, head >> 4
    if not 1 <= version <= 5:
        raise WeightsError(f"{what} has a type of version {version}: expected 1 to 5")
    bits = message.number(3)
    size = message.number(4)
    if size == 0:
        raise WeightsError(f"{what} has values of 0 bytes: expected 1 or more")
    if class_ == _FLOAT:
        return _read_float(message, bits, size)
    if class_ == _STRING:
        return Type(size, is_text=True, name="text")
    if class_ == _VARIABLE and bits & 0x0F == 1:
        return Type(size, is_text=True, is_variable=True, name="text")
    if class_ == _OPAQUE:
        return Type(size, is_opaque=True, name="opaque values")
    return Type(size, name=_name_of(class_))


def _read_float(message: Cursor, bits: int, size: int) -> Type:
    message.skip(4)
    layout = (size, *(message.number(1) for _ in range(4)), message.number(4))
    dtype = _LAYOUTS.get(layout)
    # Bit 6 marks the byte order of a VAX; the sign's place is the highest bit, in every one.
    if dtype is None or bits & 0x40 or bits >> 8 != 8 * size - 1:
        return Type(size, name=f"floating-point numbers of an unknown kind, {size} bytes each")
    return Type(size, dtype.newbyteorder(">" if bits & 1 else "<"))


def _name_of(class_: int) -> str:
    return _OTHERS.get(class_, f"values of the unknown class {class_}")
