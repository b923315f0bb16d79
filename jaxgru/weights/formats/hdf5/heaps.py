"""The heaps of an HDF5 file, where it keeps text of no fixed length."""

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import Blocks
from jaxgru.weights.formats.hdf5.cursor import Cursor

_HEADER = 16
_OBJECT_HEADER = 16


class Heaps:
    """The global heap collections of a file, each looked through once.

    Args:
        blocks: the file.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._known: dict[int, dict[int, tuple[int, int]]] = {}

    def read(self, address: int, index: int, length: int, what: str) -> bytes:
        """Return the first bytes of an object in the collection at an address.

        Args:
            address: the collection's.
            index: the object's number in it.
            length: how many bytes.
            what: whose bytes they are, for errors.

        Raises:
            WeightsError: there is no such object, or it is shorter.
        """
        if address not in self._known:
            self._known[address] = self._objects(address, f"the heap of {what}")
        start, size = self._known[address].get(index, (0, 0))
        if length > size:
            raise WeightsError(f"{what} has {size} bytes in its heap: expected {length}")
        return self._blocks.read(start, length, what)

    def _objects(self, address: int, what: str) -> dict[int, tuple[int, int]]:
        """Return where each object of a collection begins, and its size."""
        head = Cursor(self._blocks.read(address, _HEADER, what), what)
        head.expect(b"GCOL\x01")
        head.skip(3)
        end = address + head.address()
        address += _HEADER
        objects: dict[int, tuple[int, int]] = {}
        while address + _OBJECT_HEADER <= end:
            entry = Cursor(self._blocks.read(address, _OBJECT_HEADER, what), what)
            index = entry.number(2)
            if index == 0:  # what is left of the collection is free
                break
            entry.skip(6)
            size = entry.address()
            objects[index] = address + _OBJECT_HEADER, size
            address += _OBJECT_HEADER + _padded(size)
        return objects


def _padded(size: int) -> int:
    return -(-size // 8) * 8
