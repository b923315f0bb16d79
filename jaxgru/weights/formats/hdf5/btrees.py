"""The B-trees of an HDF5 file, of both versions: they index members, attributes and chunks."""

from collections.abc import Iterator

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import UNDEFINED, Blocks, Cursor

# What a tree of the first version indexes.
GROUPS = 0
CHUNKS = 1
# The records of a tree of the second version.
HUGE_OBJECTS = 1
LINK_NAMES = 5
ATTRIBUTE_NAMES = 8
PLAIN_CHUNKS = 10
FILTERED_CHUNKS = 11

_HEADER = 24
_DEEPEST = 16
# Signature, version, kind and checksum of a node of the second version.
_FRAME = 10


def tree_entries(
    blocks: Blocks, root: int, kind: int, key_size: int, what: str
) -> Iterator[tuple[bytes, int]]:
    """Yield the keys and addresses in the leaves of a tree of the first version, in order."""
    seen = {root}
    pending: list[tuple[int, int | None]] = [(root, None)]
    while pending:
        address, expected = pending.pop()
        head = Cursor(blocks.read(address, _HEADER, what), what)
        head.expect(b"TREE" + bytes([kind]))
        level, count = head.number(1), head.number(2)
        if expected is None and level <= _DEEPEST:
            expected = level
        if level != expected:
            raise WeightsError(
                f"{what} has a node of level {level}: expected "
                f"{f'at most {_DEEPEST}' if expected is None else expected}"
            )
        size = count * (key_size + 8)
        body = Cursor(blocks.read(address + _HEADER, size, what), what)
        entries = [(body.take(key_size), body.address()) for _ in range(count)]
        for _, child in entries:
            if child in seen:
                raise WeightsError(f"{what} leads twice to byte {child}: expected once")
            seen.add(child)
        if level == 0:
            yield from entries
        else:
            pending.extend((child, level - 1) for _, child in reversed(entries))


def tree_records(blocks: Blocks, address: int, kind: int, what: str) -> Iterator[Cursor]:
    """Yield the records of a tree of the second version, in no order."""
    head = blocks.checked(address, 38, what, b"BTHD\x00" + bytes([kind]))
    node_size, record_size, depth = head.number(4), head.number(2), head.number(2)
    head.skip(2)
    root, count, total = head.address(), head.number(2), head.address()
    if depth > _DEEPEST or not 0 < record_size <= node_size - _FRAME:
        raise WeightsError(
            f"{what} has depth {depth} and {record_size} bytes a record in a node of {node_size}: "
            f"expected at most {_DEEPEST}, and room for a record"
        )
    if root == UNDEFINED:
        return
    # The widths of two numbers beside a child's address follow from how many records fit below.
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
            child, below = body.address(), body.number(count_width)
            body.skip(widths[level - 1])
            if child in seen:
                raise WeightsError(f"{what} leads twice to byte {child}: expected once")
            seen.add(child)
            pending.append((child, below, level - 1))
    if found != total:
        raise WeightsError(f"{what} has {found} records: expected {total}")


def _width(largest: int) -> int:
    """Return how many bytes a number takes that may be so large."""
    return max((largest.bit_length() + 7) // 8, 1)
