"""The numbers of an HDF5 dataset that is kept in chunks, compressed or not."""

import math
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import UNDEFINED, Blocks
from jaxgru.weights.formats.hdf5.cursor import Cursor
from jaxgru.weights.formats.hdf5.headers import FILTERS, Message, one_of
from jaxgru.weights.formats.hdf5.trees import CHUNKS, tree_entries
from jaxgru.weights.limits import bytes_of

_DEFLATE, _SHUFFLE = 1, 2
_NAMES = {3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset"}


def read_chunks(
    blocks: Blocks,
    messages: list[Message],
    layout: Cursor,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    what: str,
) -> NDArray[Any]:
    """Return the numbers of a dataset in chunks.

    Args:
        blocks: the file.
        messages: the dataset's header.
        layout: the rest of its layout message, behind the kind.
        shape: the dataset's.
        dtype: of its numbers.
        what: its name, for errors.

    Raises:
        WeightsError: a chunk is missing, damaged, or compressed in a way that is not known.
    """
    sizes, tree = _read_layout(layout, shape, dtype, what)
    filters = _read_filters(messages, what)
    chunk_bytes = bytes_of(f"a chunk of {what}", sizes, dtype.itemsize)
    blocks.spend(bytes_of(what, shape, dtype.itemsize))
    array = np.empty(shape, dtype)
    seen = set()
    key_size = 8 + 8 * (len(shape) + 1)
    for key, address in tree_entries(blocks, tree, CHUNKS, key_size, f"the chunks of {what}"):
        entry = Cursor(key, f"a chunk of {what}")
        stored, skipped = entry.number(4), entry.number(4)
        start = tuple(entry.address() for _ in shape)
        axes = list(zip(start, shape, sizes, strict=True))
        if start in seen or not all(at < whole and at % one == 0 for at, whole, one in axes):
            raise WeightsError(f"{what} has a chunk at {start}: expected another place, or once")
        seen.add(start)
        content = blocks.read(address, stored, f"a chunk of {what}")
        applied = [filter_ for i, filter_ in enumerate(filters) if not skipped >> i & 1]
        content = _unfiltered(blocks, content, applied, chunk_bytes, what)
        target = array[tuple(slice(at, at + one) for at, _, one in axes)]
        # Chunks at the edge reach beyond the array.
        inside = tuple(map(slice, target.shape))
        target[...] = np.frombuffer(content, dtype).reshape(sizes)[inside]
    expected = math.prod(-(-whole // one) for whole, one in zip(shape, sizes, strict=True))
    if len(seen) != expected:
        raise WeightsError(f"{what} has {len(seen)} chunks in the file: expected {expected}")
    return array


def _unfiltered(
    blocks: Blocks, content: bytes, applied: list["_Filter"], chunk_bytes: int, what: str
) -> bytes:
    for filter_ in reversed(applied):
        blocks.spend(chunk_bytes)
        content = filter_.undo(content, chunk_bytes, what)
    if len(content) != chunk_bytes:
        raise WeightsError(f"{what} has a chunk of {len(content)} bytes: expected {chunk_bytes}")
    return content


def _read_layout(
    layout: Cursor, shape: tuple[int, ...], dtype: np.dtype[Any], what: str
) -> tuple[tuple[int, ...], int]:
    axes = layout.number(1)
    tree = layout.address()
    sizes = tuple(layout.number(4) for _ in range(axes))
    if axes != len(shape) + 1 or sizes[-1] != dtype.itemsize:
        raise WeightsError(
            f"{what} has chunks of {sizes}: expected {len(shape)} sizes and {dtype.itemsize}, the "
            "size of a number"
        )
    if tree == UNDEFINED:
        raise WeightsError(f"{what} has no chunks in the file: expected its values there")
    return sizes[:-1], tree


class _Filter(NamedTuple):
    """One step of how a chunk was compressed."""

    kind: int
    width: int  # of a number, in bytes

    def undo(self, content: bytes, chunk_bytes: int, what: str) -> bytes:
        if self.kind == _DEFLATE:
            return _inflated(content, chunk_bytes, what)
        whole = len(content) // self.width * self.width
        planes = np.frombuffer(content, np.uint8, whole).reshape(self.width, -1)
        return planes.T.tobytes() + content[whole:]


def _inflated(content: bytes, chunk_bytes: int, what: str) -> bytes:
    try:
        # One byte more than may be: the length is compared afterwards.
        return zlib.decompressobj().decompress(content, chunk_bytes + 1)
    except zlib.error as error:
        raise WeightsError(f"{what} has a damaged chunk ({error})") from None


def _read_filters(messages: list[Message], what: str) -> list[_Filter]:
    message = one_of(messages, FILTERS, f"the filters of {what}")
    if message is None:
        return []
    version, number = message.number(1), message.number(1)
    if version not in (1, 2):
        raise WeightsError(f"the filters of {what} have version {version}: expected 1 or 2")
    if version == 1:
        message.skip(6)
    return [_read_filter(message, version, what) for _ in range(number)]


def _read_filter(message: Cursor, version: int, what: str) -> _Filter:
    kind = message.number(2)
    if kind not in (_DEFLATE, _SHUFFLE):
        name = _NAMES.get(kind, f"number {kind}, a plugin")
        raise WeightsError(f"{what} went through the filter {name}: expected deflate or shuffle")
    name_size = message.number(2) if version == 1 else 0
    message.skip(2)
    count = message.number(2)
    message.skip(-(-name_size // 8) * 8)
    values = [message.number(4) for _ in range(count)]
    if version == 1 and count % 2:
        message.skip(4)
    if kind == _SHUFFLE and (not values or not 0 < values[0] <= 8):
        raise WeightsError(f"{what} went through shuffle with {values[:1]}: expected 2, 4 or 8")
    return _Filter(kind, values[0] if kind == _SHUFFLE else 1)
