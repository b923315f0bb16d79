"""The chunks of an HDF5 dataset: their sizes and positions in the file.

The first layout has a tree of chunks. The later one has an index for each case: a single chunk,
consecutive chunks, a list of fixed length, a list that grows along an axis, and a tree.
"""

import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.errors import WeightsError, damaged
from jaxgru._weights.formats.hdf5.blocks import UNDEFINED, Blocks, Cursor, fletcher32
from jaxgru._weights.formats.hdf5.headers import Header, Kind
from jaxgru._weights.formats.hdf5.heaps import CHUNKS, Records, tree_entries, tree_records
from jaxgru._weights.limits import bytes_of

_SINGLE, _IMPLICIT, _FIXED, _EXTENSIBLE, _TREE = range(1, 6)
# The flags of a layout.
_WHOLE_EDGES, _SINGLE_IS_FILTERED = 1, 2


# The position of a chunk, in chunks; its address; its size in the file; bits of skipped filters.
_Chunk = tuple[tuple[int, ...], int, int, int]
_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset"}
# LZF is decoded in Python: the time for a byte of it, relative to reading a byte of the file.
_SLOW = 16


class _Grid(NamedTuple):
    """A dataset cut into chunks."""

    blocks: Blocks
    what: str
    counts: tuple[int, ...]  # of chunks, by axis
    most: tuple[int | None, ...]  # of chunks that the dataset may grow to; None: any number
    size: int  # of a chunk, in bytes
    is_filtered: bool

    def chunk(self, place: tuple[int, ...], entry: Cursor, width: int) -> Iterator[_Chunk]:
        """Yield the chunk of an entry in a list of chunks, nothing if the entry is empty."""
        address = entry.address()
        stored, skipped = self.size, 0
        if self.is_filtered:
            stored, skipped = entry.numbers(width - 12, 4)
        if address != UNDEFINED:
            yield place, address, stored, skipped

    def place(self, position: int) -> tuple[int, ...]:
        """Return the position of a chunk by its index in a list: the growing axis comes first."""
        axes = sorted(range(len(self.most)), key=lambda axis: self.most[axis] is not None)
        place = [0] * len(axes)
        for axis in reversed(axes):
            most = self.most[axis]
            place[axis] = position if most is None else position % most
            position = 0 if most is None else position // most
        return tuple(place)


def read_chunks(
    blocks: Blocks,
    header: Header,
    layout: Cursor,
    version: int,
    shape: tuple[int, ...],
    limits: tuple[int, ...],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Return the numbers of a dataset in chunks."""
    what = header.what
    flags = layout.number(1) if version > 3 else 0
    if flags & _WHOLE_EDGES:
        raise WeightsError(f"{what} leaves chunks at its edges unfiltered: expected all filtered")
    axes = layout.number(1)
    root = layout.address() if version == 3 else UNDEFINED
    width = layout.number(1) if version > 3 else 4
    *sizes, itemsize = (layout.number(width) for _ in range(axes)) if axes else (0,)
    if len(sizes) != len(shape) or itemsize != dtype.itemsize:
        raise WeightsError(
            f"{what} has chunks of {(*sizes, itemsize)}: expected {len(shape)} sizes and "
            f"{dtype.itemsize}, the size of a number"
        )
    chunk_bytes = bytes_of(f"a chunk of {what}", sizes, dtype.itemsize)
    filters = _read_filters(header)
    counts = tuple(-(-whole // one) for whole, one in zip(shape, sizes, strict=True))
    most = tuple(
        None if limit == UNDEFINED else max(-(-limit // one), 1)
        for limit, one in zip(limits, sizes, strict=True)
    )
    blocks.spend(bytes_of(what, shape, dtype.itemsize))
    grid = _Grid(blocks, what, counts, most, chunk_bytes, bool(filters))
    chunks = _from_tree(grid, root, sizes) if version == 3 else _from_index(grid, layout, flags)
    array = np.empty(shape, dtype)
    seen = set()
    for place, address, stored, skipped in chunks:
        if place in seen or not all(at < count for at, count in zip(place, counts, strict=True)):
            raise WeightsError(f"{what} has a chunk at {place}: expected another place, or once")
        seen.add(place)
        content = blocks.read(address, stored, f"a chunk of {what}")
        content = _undo(blocks, content, filters, skipped, chunk_bytes, what)
        target = array[
            tuple(slice(at * one, at * one + one) for at, one in zip(place, sizes, strict=True))
        ]
        # Chunks at the edge are larger than their part of the array.
        inside = tuple(map(slice, target.shape))
        target[...] = np.frombuffer(content, dtype).reshape(sizes)[inside]
    if len(seen) != math.prod(counts):
        raise WeightsError(
            f"{what} has {len(seen)} chunks in the file: expected {math.prod(counts)}"
        )
    return array


def _from_tree(grid: _Grid, root: int, sizes: list[int]) -> Iterator[_Chunk]:
    """Yield the chunks in the tree of the first layout."""
    where = f"the chunks of {grid.what}"
    _check_address(grid, root)
    for key, address in tree_entries(grid.blocks, root, CHUNKS, 16 + 8 * len(sizes), where):
        entry = Cursor(key, where)
        stored, skipped, *starts = entry.numbers(4, 4, *[8] * len(sizes))
        if any(at % one for at, one in zip(starts, sizes, strict=True)):
            raise WeightsError(f"{grid.what} has a chunk at {starts}: expected another place")
        place = tuple(at // one for at, one in zip(starts, sizes, strict=True))
        yield place, address, stored, skipped


def _from_index(grid: _Grid, layout: Cursor, flags: int) -> Iterator[_Chunk]:
    """Yield the chunks in the index of a later layout."""
    kind = layout.number(1)
    stored, skipped = grid.size, 0
    if kind == _SINGLE and flags & _SINGLE_IS_FILTERED:
        stored, skipped = layout.numbers(8, 4)
    layout.skip({_FIXED: 1, _EXTENSIBLE: 5, _TREE: 6}.get(kind, 0))
    address = layout.address()
    _check_address(grid, address)
    if kind == _SINGLE:
        yield (0,) * len(grid.counts), address, stored, skipped
    elif kind == _IMPLICIT:
        for position in range(math.prod(grid.counts)):
            yield grid.place(position), address + position * grid.size, grid.size, 0
    elif kind == _FIXED:
        yield from _fixed_list(grid, address)
    elif kind == _EXTENSIBLE:
        yield from _extensible_list(grid, address)
    elif kind == _TREE:
        record_kind = Records.FILTERED_CHUNKS if grid.is_filtered else Records.PLAIN_CHUNKS
        where = f"the chunks of {grid.what}"
        for record in tree_records(grid.blocks, address, record_kind, where):
            axes = len(grid.counts)
            entry = Cursor(record.take(max(record.left - 8 * axes, 0)), where)
            place = tuple(record.address() for _ in range(axes))
            yield from grid.chunk(place, entry, entry.left)
    else:
        raise WeightsError(f"{grid.what} has a chunk index of kind {kind}: expected 1 to 5")


def _check_address(grid: _Grid, address: int) -> None:
    if address == UNDEFINED:
        raise WeightsError(f"{grid.what} has no chunks in the file: expected its values there")


def _fixed_list(grid: _Grid, address: int) -> Iterator[_Chunk]:
    """Yield the chunks of a list of fixed length, in one piece or in pages."""
    what = f"the chunks of {grid.what}"
    kind = bytes([grid.is_filtered])
    head = grid.blocks.checked(address, 28, what, b"FAHD\x00" + kind)
    width, page_bits, count, data = head.numbers(1, 1, 8, 8)
    if data == UNDEFINED:
        return
    page = 1 << min(page_bits, 63)
    mask_size = -(-count // page // 8) if count > page else 0
    size = 18 + (mask_size or count * width)
    body = grid.blocks.checked(data, size, what, b"FADB\x00" + kind)
    body.skip(8)
    if mask_size:
        yield from _pages(grid, data + size, 0, count, page, width, body.take(mask_size))
    else:
        yield from _entries(grid, body, 0, count, width)


def _entries(grid: _Grid, body: Cursor, first: int, count: int, width: int) -> Iterator[_Chunk]:
    for position in range(first, first + count):
        yield from grid.chunk(grid.place(position), body, width)


def _pages(
    grid: _Grid, address: int, first: int, count: int, page: int, width: int, mask: bytes
) -> Iterator[_Chunk]:
    """Yield the chunks of consecutive pages with checksums; the mask has the existing pages."""
    for number in range(-(-count // page)):
        here = min(page, count - number * page)
        size = here * width + 4
        if mask[number // 8] << number % 8 & 0x80:
            body = grid.blocks.checked(address, size, f"the chunks of {grid.what}", b"")
            yield from _entries(grid, body, first + number * page, here, width)
        address += size


def _extensible_list(grid: _Grid, address: int) -> Iterator[_Chunk]:
    """Yield the chunks of a growing list: some in its index, others in blocks of doubling size.

    Blocks are in groups. The addresses of the blocks of the first groups are in the index; those of
    each later group are in a separate block, with a mask of the existing pages.
    """
    what, blocks = f"the chunks of {grid.what}", grid.blocks
    kind = bytes([grid.is_filtered])
    head = blocks.checked(address, 72, what, b"EAHD\x00" + kind)
    width, bits, in_index, least, pointers, page_bits, _, index = head.numbers(
        1, 1, 1, 1, 1, 1, 48, 8
    )
    if index == UNDEFINED:
        return
    if not (bits <= 64 and least and pointers and pointers & (pointers - 1) == 0):
        raise WeightsError(f"{what} are in blocks of {least} and {pointers}: expected powers of 2")
    offset, page = 8 + -(-bits // 8), 1 << min(page_bits, 63)
    groups = max(1 + bits - (least.bit_length() - 1), 0)
    direct = 2 * (pointers.bit_length() - 1)
    size = 18 + in_index * width + 8 * (2 * (pointers - 1) + max(groups - direct, 0))
    body = blocks.checked(index, size, what, b"EAIB\x00" + kind)
    body.skip(8)
    yield from _entries(grid, body, 0, in_index, width)
    first = in_index
    for group in range(groups):
        number, count = 1 << group // 2, least << (group + 1) // 2
        mask_size = -(-count // page // 8) if count > page else 0
        size, masks, addresses = 10 + offset + (0 if mask_size else count * width), b"", body
        if group >= direct:
            block = body.address()
            if block == UNDEFINED:
                first += number * count
                continue
            block_size = 10 + offset + number * (mask_size + 8)
            addresses = blocks.checked(block, block_size, what, b"EASB\x00" + kind)
            addresses.skip(offset)
            masks = addresses.take(number * mask_size)
        for place in range(number):
            data = addresses.address()
            if data != UNDEFINED:
                content = blocks.checked(data, size, what, b"EADB\x00" + kind)
                content.skip(offset)
                if mask_size:
                    mask = masks[place * mask_size :][:mask_size] or bytes(mask_size)
                    yield from _pages(grid, data + size, first, count, page, width, mask)
                else:
                    yield from _entries(grid, content, first, count, width)
            first += count


class _Filter(NamedTuple):
    """One filter of chunks."""

    kind: int
    width: int  # of a number, in bytes


def _read_filters(header: Header) -> list[_Filter]:
    """Return the filters of a dataset in the order in which they were applied."""
    message = header.one(Kind.FILTERS, "filters")
    if message is None:
        return []
    version, number = message.version(1, 2), message.number(1)
    message.skip(6 if version == 1 else 0)
    return [_read_filter(message, version, header.what) for _ in range(number)]


def _undo(
    blocks: Blocks, content: bytes, filters: list[_Filter], skipped: int, size: int, what: str
) -> bytes:
    """Return a chunk with the filters undone."""
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


def _read_filter(message: Cursor, version: int, what: str) -> _Filter:
    kind = message.number(2)
    if kind not in (_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF):
        name = _NAMES.get(kind, f"number {kind}, a plugin")
        raise WeightsError(
            f"{what} went through the filter {name}: expected deflate, lzf, shuffle or fletcher32"
        )
    # In the second version, the filters of HDF5 have no name.
    name_size = message.number(2) if version == 1 or kind == _LZF else 0
    _, count = message.numbers(2, 2)
    message.skip(-(-name_size // 8) * 8 if version == 1 else name_size)
    values = [message.number(4) for _ in range(count)]
    if version == 1 and count % 2:
        message.skip(4)
    if kind == _SHUFFLE and (not values or not 0 < values[0] <= 8):
        raise WeightsError(f"{what} went through shuffle with {values[:1]}: expected 2, 4 or 8")
    return _Filter(kind, values[0] if kind == _SHUFFLE else 1)


def _inflated(content: bytes, size: int, what: str) -> bytes:
    with damaged(f"{what} has a damaged chunk", zlib.error):
        # One byte more than expected, because the length is checked afterwards.
        return zlib.decompressobj().decompress(content, size + 1)


def _from_lzf(content: bytes, size: int, what: str) -> bytes:
    """Undo LZF: literal bytes, and references to previous bytes."""
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
            # The source may overlap the destination.
            piece = result[start : start + length + 2]
            result += (piece * ((length + 2) // len(piece) + 1))[: length + 2]
    except IndexError:
        raise WeightsError(f"{what} has a damaged chunk (no LZF)") from None
    return bytes(result)
