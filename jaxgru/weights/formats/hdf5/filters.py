"""The filters of an HDF5 dataset in chunks: deflate, shuffle, Fletcher's checksum and LZF."""

import zlib
from typing import NamedTuple

import numpy as np

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import Blocks, Cursor
from jaxgru.weights.formats.hdf5.checksums import fletcher32
from jaxgru.weights.formats.hdf5.headers import FILTERS, Message, one_of

_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset"}
# LZF is read in Python: a byte of it takes this much more time than a byte of the file.
_SLOW = 16


class Filter(NamedTuple):
    """One step of how chunks were written."""

    kind: int
    width: int  # of a number, in bytes


def read_filters(messages: list[Message], what: str) -> list[Filter]:
    """Return the filters of a dataset in the order in which they were applied."""
    message = one_of(messages, FILTERS, f"the filters of {what}")
    if message is None:
        return []
    version, number = message.number(1), message.number(1)
    if version not in (1, 2):
        raise WeightsError(f"the filters of {what} have version {version}: expected 1 or 2")
    if version == 1:
        message.skip(6)
    return [_read_filter(message, version, what) for _ in range(number)]


def undo(
    blocks: Blocks, content: bytes, filters: list[Filter], skipped: int, size: int, what: str
) -> bytes:
    """Return a chunk as it was before it was filtered."""
    for place in reversed(range(len(filters))):
        if skipped >> place & 1:
            continue
        kind, width = filters[place]
        blocks.spend(size + _SLOW * len(content) * (kind == _LZF))
        if kind == _DEFLATE:
            content = _inflated(content, size, what)
        elif kind == _LZF:
            content = _from_lzf(content, size, what)
        elif kind == _FLETCHER32:
            content, checksum = content[:-4], content[-4:]
            if fletcher32(content) != int.from_bytes(checksum, "little"):
                raise WeightsError(f"{what} has a damaged chunk: expected its checksum")
        else:
            whole = len(content) // width * width
            planes = np.frombuffer(content, np.uint8, whole).reshape(width, -1)
            content = planes.T.tobytes() + content[whole:]
    if len(content) != size:
        raise WeightsError(f"{what} has a chunk of {len(content)} bytes: expected {size}")
    return content


def _read_filter(message: Cursor, version: int, what: str) -> Filter:
    kind = message.number(2)
    if kind not in (_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF):
        name = _NAMES.get(kind, f"number {kind}, a plugin")
        raise WeightsError(
            f"{what} went through the filter {name}: expected deflate, lzf, shuffle or fletcher32"
        )
    # The second version names only filters that are not HDF5's own.
    name_size = message.number(2) if version == 1 or kind == _LZF else 0
    message.skip(2)
    count = message.number(2)
    message.skip(-(-name_size // 8) * 8 if version == 1 else name_size)
    values = [message.number(4) for _ in range(count)]
    if version == 1 and count % 2:
        message.skip(4)
    if kind == _SHUFFLE and (not values or not 0 < values[0] <= 8):
        raise WeightsError(f"{what} went through shuffle with {values[:1]}: expected 2, 4 or 8")
    return Filter(kind, values[0] if kind == _SHUFFLE else 1)


def _inflated(content: bytes, size: int, what: str) -> bytes:
    try:
        # One byte more than expected: the length is compared afterwards.
        return zlib.decompressobj().decompress(content, size + 1)
    except zlib.error as error:
        raise WeightsError(f"{what} has a damaged chunk ({error})") from None


def _from_lzf(content: bytes, size: int, what: str) -> bytes:
    """Undo LZF: runs of bytes as they are, and references to bytes already there."""
    result, at = bytearray(), 0
    try:
        while at < len(content) and len(result) <= size:
            control = content[at]
            at += 1
            if control < 32:
                result += content[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += content[at]
                at += 1
            start = len(result) - (control & 31) * 256 - content[at] - 1
            at += 1
            if start < 0:
                raise IndexError
            # What is copied may be made by the copy itself.
            piece = result[start : start + length + 2]
            result += (piece * ((length + 2) // len(piece) + 1))[: length + 2]
    except IndexError:
        raise WeightsError(f"{what} has a damaged chunk (no LZF)") from None
    return bytes(result)
