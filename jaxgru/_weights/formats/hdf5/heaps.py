"""The B-trees and heaps of an HDF5 file, with members, attributes, chunks and text."""

import enum
from collections.abc import Iterator

from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.hdf5.blocks import UNDEFINED, Blocks, Cursor

# The kinds of trees of the first version.
GROUPS = 0
CHUNKS = 1

_HEADER = 24
_DEEPEST = 16
# Signature, version, kind and checksum of a node of the second version.
_FRAME = 10
_COLLECTION_HEADER = 16
_OBJECT_HEADER = 16
_MANAGED, _HUGE = 0, 1


class Records(enum.IntEnum):
    """The parameters of a tree of the second version."""

    HUGE_OBJECTS = 1
    LINK_NAMES = 5
    ATTRIBUTE_NAMES = 8
    PLAIN_CHUNKS = 10
    FILTERED_CHUNKS = 11


def tree_entries(
    blocks: Blocks, root: int, kind: int, key_size: int, what: str
) -> Iterator[tuple[bytes, int]]:
    """Yield the keys and addresses in the leaves of a tree of the first version, in order."""
    seen = {root}
    pending: list[tuple[int, int | None]] = [(root, None)]
    while pending:
        address, expected = pending.pop()
        level, count = blocks.at(address, _HEADER, what, b"TREE" + bytes([kind])).numbers(1, 2)
        if expected is None and level <= _DEEPEST:
            expected = level
        if level != expected:
            raise WeightsError(
                f"{what} has a node of level {level}: expected "
                f"{f'at most {_DEEPEST}' if expected is None else expected}"
            )
        body = blocks.at(address + _HEADER, count * (key_size + 8), what)
        entries = [(body.take(key_size), body.address()) for _ in range(count)]
        for _, child in entries:
            _enter(seen, child, what)
        if level == 0:
            yield from entries
        else:
            pending.extend((child, level - 1) for _, child in reversed(entries))


def tree_records(blocks: Blocks, address: int, kind: Records, what: str) -> Iterator[Cursor]:
    """Yield the records of a tree of the second version, in no order."""
    head = blocks.checked(address, 38, what, b"BTHD\x00" + bytes([kind]))
    node_size, record_size, depth, _, root, count, total = head.numbers(4, 2, 2, 2, 8, 2, 8)
    if depth > _DEEPEST or not 0 < record_size <= node_size - _FRAME:
        raise WeightsError(
            f"{what} has depth {depth} and {record_size} bytes a record in a node of {node_size}: "
            f"expected at most {_DEEPEST}, and room for a record"
        )
    if root == UNDEFINED:
        return
    # The widths of two numbers after the address of a child depend on the capacity of its subtree.
    fits = (node_size - _FRAME) // record_size
    count_width = _width(fits)
    widths, all_below, pointer = [0], fits, 8
    for _ in range(depth):
        pointer = 8 + count_width + widths[-1]
        fits = (node_size - _FRAME - pointer) // (record_size + pointer)
        all_below = (fits + 1) * all_below + fits
        widths.append(_width(all_below) if fits > 0 else 8)
    seen = {root}
    pending = [(root, count, depth)]
    found = 0
    while pending:
        node, count, level = pending.pop()
        pointer = 8 + count_width + widths[level - 1] if level else 0
        signature = b"BTIN\x00" if level else b"BTLF\x00"
        size = _FRAME + count * record_size + (count + 1) * pointer
        if size > node_size:
            raise WeightsError(f"{what} has {count} records in a node of {node_size} bytes")
        body = blocks.checked(node, size, what, signature + bytes([kind]))
        for _ in range(count):
            yield Cursor(body.take(record_size), what)
        found += count
        for _ in range(count + 1 if level else 0):
            child, below, _ = body.numbers(8, count_width, widths[level - 1])
            _enter(seen, child, what)
            pending.append((child, below, level - 1))
    if found != total:
        raise WeightsError(f"{what} has {found} records: expected {total}")


def _enter(seen: set[int], address: int, what: str) -> None:
    if address in seen:
        raise WeightsError(f"{what} refers twice to byte {address}: expected once")
    seen.add(address)


def _width(largest: int) -> int:
    """Return the number of bytes for numbers up to a maximum."""
    return max((largest.bit_length() + 7) // 8, 1)


class Heaps:
    """The global heap collections of a file, which have text; each is read once."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._known: dict[int, dict[int, tuple[int, int]]] = {}

    def read(self, address: int, index: int, length: int, what: str) -> bytes:
        """Return the first bytes of an object in the collection at an address."""
        if address not in self._known:
            self._known[address] = self._objects(address, f"the heap of {what}")
        start, size = self._known[address].get(index, (0, 0))
        if length > size:
            raise WeightsError(f"{what} has {size} bytes in its heap: expected {length}")
        return self._blocks.read(start, length, what)

    def _objects(self, address: int, what: str) -> dict[int, tuple[int, int]]:
        """Return the position and the size of each object of a collection."""
        _, size = self._blocks.at(address, _COLLECTION_HEADER, what, b"GCOL\x01").numbers(3, 8)
        end = address + size
        address += _COLLECTION_HEADER
        objects: dict[int, tuple[int, int]] = {}
        while address + _OBJECT_HEADER <= end:
            index, _, size = self._blocks.at(address, _OBJECT_HEADER, what).numbers(2, 6, 8)
            if index == 0:  # the rest of the collection is free
                break
            objects[index] = address + _OBJECT_HEADER, size
            address += _OBJECT_HEADER + -(-size // 8) * 8
        return objects


class FractalHeap:
    """The heap of many or large links of a group or attributes of an object.

    An object has an offset into blocks, which are in rows of a table: the blocks of a row have one
    size, which doubles from row to row after the second. The largest blocks are again tables.
    """

    def __init__(self, blocks: Blocks, address: int, what: str) -> None:
        self._blocks, self._what = blocks, what
        head = blocks.checked(address, 146, what, b"FRHP\x00")
        self.reference_size, filters, flags, largest, _, self._huge_tree, _ = head.numbers(
            2, 2, 1, 4, 8, 8, 80
        )
        columns, self._first, self._largest_direct, bits, _, self._root, self._rows = head.numbers(
            2, 8, 8, 2, 2, 8, 2
        )
        if filters:
            raise WeightsError(f"{what} is compressed: expected it as h5py writes it")
        self._has_checksums = bool(flags & 2)
        sizes = (columns, self._first, self._largest_direct)
        if bits > 64 or any(size == 0 or size & (size - 1) for size in sizes):
            raise WeightsError(f"{what} has blocks of {sizes}: expected powers of two")
        self._columns, self._row_size = columns, columns * self._first
        self._offset_width = -(-bits // 8)
        # Enough for the end of a block, or for the largest object if that is less.
        by_block, by_object = self._largest_direct.bit_length() - 1, largest.bit_length()
        self._length_width = min(-(-by_block // 8), max(-(-by_object // 8), 1))
        self._contents: dict[int, bytes] = {}  # of the blocks read, by address

    def read(self, reference: bytes) -> Cursor:
        """Return an object."""
        cursor = Cursor(reference, f"a reference into {self._what}")
        kind = cursor.number(1) >> 4
        if kind == _HUGE:
            return self._read_huge(cursor.number(min(cursor.left, 8)))
        if kind != _MANAGED:
            raise WeightsError(f"{self._what} has an object of kind {kind}: expected 0 or 1")
        at, length = cursor.numbers(self._offset_width, self._length_width)
        block, rows, size = self._root, self._rows, self._first
        while rows:  # 0: the block is no table
            row = (at // self._row_size).bit_length()
            if row >= rows:
                raise WeightsError(f"{self._what} has no row {row}: expected one of {rows}")
            size = self._first << max(row - 1, 0)
            at -= self._row_size << row - 1 if row else 0
            block = self._child(block, rows, row * self._columns + at // size)
            at %= size
            is_table = size > self._largest_direct
            rows = (size // self._row_size).bit_length() if is_table else 0
        if at + length > size:
            raise WeightsError(f"{self._what} has an object beyond its block of {size} bytes")
        return Cursor(self._block(block, size)[at : at + length], f"an object in {self._what}")

    def _child(self, table: int, rows: int, place: int) -> int:
        if table not in self._contents:
            head = 13 + self._offset_width
            size = head + 8 * rows * self._columns + 4
            body = self._blocks.checked(table, size, self._what, b"FHIB\x00")
            body.skip(head - 5)
            self._contents[table] = body.take(body.left)
        return int.from_bytes(self._contents[table][8 * place : 8 * place + 8], "little")

    def _block(self, address: int, size: int) -> bytes:
        if address not in self._contents:
            # The checksum is after the offset, and is computed with zeros in its place.
            place = 13 + self._offset_width if self._has_checksums else None
            content = self._blocks.checked_at(address, size, self._what, b"FHDB\x00", place)
            self._contents[address] = content
        return self._contents[address]

    def _read_huge(self, number: int) -> Cursor:
        if self._huge_tree != UNDEFINED:
            for record in tree_records(
                self._blocks, self._huge_tree, Records.HUGE_OBJECTS, self._what
            ):
                address, length, own_number = record.numbers(8, 8, 8)
                if own_number == number:
                    return self._blocks.at(address, length, self._what)
        raise WeightsError(f"{self._what} has no large object {number}")
