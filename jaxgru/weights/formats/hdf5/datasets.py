"""The floating-point numbers of an HDF5 dataset, wherever in the file they lie."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import UNDEFINED, Blocks, Cursor
from jaxgru.weights.formats.hdf5.chunks import read_chunks
from jaxgru.weights.formats.hdf5.headers import (
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    LAYOUT,
    Message,
    one_of,
)
from jaxgru.weights.formats.hdf5.values import read_extent, read_type
from jaxgru.weights.limits import bytes_of

_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)


def is_dataset(messages: list[Message]) -> bool:
    """Return whether a header is that of a dataset."""
    return any(message.kind == LAYOUT for message in messages)


def shape_of(messages: list[Message], what: str) -> tuple[int, ...]:
    """Return the shape of a dataset, ``(0,)`` for one without any value."""
    return _extent(messages, what)[0]


def check_size(blocks: Blocks, messages: list[Message], what: str) -> None:
    """Raise WeightsError if a dataset, whatever it holds, declares more than the file may take."""
    types = [message.body for message in messages if message.kind == DATATYPE]
    # A type of the file's own has no size here. It is refused if it is asked for.
    itemsize = int.from_bytes(types[0][4:8], "little") if types else 0
    blocks.check_declared(math.prod(shape_of(messages, what)) * itemsize, what)


def read_dataset(
    blocks: Blocks, messages: list[Message], what: str, opaque: np.dtype[Any] | None = None
) -> NDArray[Any]:
    """Return the numbers of a dataset."""
    if any(message.kind == EXTERNAL_FILES for message in messages):
        raise WeightsError(
            f"{what} has its values in another file (external storage): expected them here"
        )
    shape, limits = _extent(messages, what)
    type_ = read_type(_needed(messages, DATATYPE, f"the type of {what}"), what)
    dtype = type_.dtype
    if type_.is_opaque and opaque is not None and opaque.itemsize == type_.size:
        dtype = opaque
    if dtype is None:
        raise WeightsError(f"{what} holds {type_.name}: expected floating-point numbers")
    size = bytes_of(what, shape, dtype.itemsize)
    layout = _needed(messages, LAYOUT, f"the layout of {what}")
    version = layout.number(1)
    if version not in (3, 4, 5):
        raise WeightsError(f"{what} has a layout of version {version}: expected 3 to 5")
    kind = layout.number(1)
    if kind == _VIRTUAL:
        raise WeightsError(f"{what} is made of others (virtual): expected values of its own")
    if kind == _CHUNKED:
        chunks = read_chunks(blocks, messages, layout, version, shape, limits, dtype, what)
        return _native(chunks)
    if kind == _COMPACT:
        held = layout.number(2)
        content = layout.take(held)
    elif kind == _CONTIGUOUS:
        address, held = layout.address(), layout.address()
        if address == UNDEFINED:
            raise WeightsError(f"{what} has no values in the file: expected {size} bytes")
        content = blocks.read(address, held, what) if held == size else b""
    else:
        raise WeightsError(f"{what} has a layout of kind {kind}: expected 0 to 3")
    if held != size:
        raise WeightsError(
            f"{what} has shape {shape} of {dtype.name}, {size} bytes: expected the {held} that "
            "it has"
        )
    blocks.spend(size)
    return _native(np.frombuffer(content, dtype).reshape(shape))


def _extent(messages: list[Message], what: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    extent = read_extent(_needed(messages, DATASPACE, f"the shape of {what}"), what)
    return ((0,), (0,)) if extent is None else extent


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in the machine's byte order, and in memory of their own."""
    return array.astype(array.dtype.newbyteorder("="))


def _needed(messages: list[Message], kind: int, what: str) -> Cursor:
    message = one_of(messages, kind, what)
    if message is None:
        raise WeightsError(f"{what} is missing")
    return message
