"""The B-trees by which an HDF5 file finds the members of a group and the chunks of a dataset."""

from collections.abc import Iterator

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import Blocks
from jaxgru.weights.formats.hdf5.cursor import Cursor

# What a tree leads to.
GROUPS = 0
CHUNKS = 1

_HEADER = 24
_DEEPEST = 16


def tree_entries(
    blocks: Blocks, root: int, kind: int, key_size: int, what: str
) -> Iterator[tuple[bytes, int]]:
    """Yield the keys of a tree's leaves and the addresses that they lead to, in order.

    Args:
        blocks: the file.
        root: the address of the tree's root.
        kind: what the tree leads to.
        key_size: the size of a key in bytes.
        what: the tree's name, for errors.

    Raises:
        WeightsError: the tree is damaged, leads twice to one place, or is too deep.
    """
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
