"""Reading pieces of an HDF5 file: within its bounds, and not more in all than it may cost."""

from typing import BinaryIO

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.limits import EXPANSION, SMALL

# The address of what is not there.
UNDEFINED = 2**64 - 1

# What a read costs at least, so that many small ones end as well.
_LEAST = 512


class Blocks:
    """The pieces of an open file, each read counted against what such a file may cost.

    A hostile file can have thousands of its parts lead to the same large piece. Counting bytes
    where they are read, whatever for, bounds time and memory for all of them in one place.

    Args:
        file: the open file.
        size: its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._allowed = max(SMALL, EXPANSION * size)
        self._left = self._allowed

    def read(self, address: int, length: int, what: str) -> bytes:
        """Return a piece of the file.

        Args:
            address: where it begins, in bytes.
            length: how long it is, in bytes.
            what: its name, for errors.

        Raises:
            WeightsError: the piece is not within the file, or too much has been read.
        """
        if length > self._size or address > self._size - length:
            where = "nowhere" if address == UNDEFINED else f"at byte {address}"
            raise WeightsError(
                f"{what} should take {length} bytes {where}: expected a place within the file's "
                f"{self._size} bytes"
            )
        self.spend(max(length, _LEAST))
        self._file.seek(address)
        content = self._file.read(length)
        if len(content) != length:
            raise WeightsError(f"{what} ends after {len(content)} of {length} bytes")
        return content

    def read_up_to(self, address: int, length: int, what: str) -> bytes:
        """Return a piece of the file, a shorter one where the file ends before."""
        return self.read(address, min(length, max(self._size - address, 0)), what)

    def check_declared(self, count: int, what: str) -> None:
        """Raise WeightsError if something declares more bytes than the file may take in all."""
        if count > self._allowed:
            raise WeightsError(
                f"{what} declares {count} bytes: expected at most {self._allowed} in a file of "
                f"{self._size} bytes"
            )

    def spend(self, count: int) -> None:
        """Count bytes that are about to be made of what was read.

        Raises:
            WeightsError: that is more than a file of this size may take.
        """
        self._left -= count
        if self._left < 0:
            raise WeightsError(
                f"reading it would take more than {self._allowed} bytes: expected no more of a "
                f"file of {self._size} bytes"
            )
