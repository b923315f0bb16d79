"""Reading parts of an HDF5 file with checked bounds and checksums, and a limited cost.

Source: Bob Jenkins, ``lookup3.c``, 2006; the HDF5 File Format Specification, version 3.0.
"""

import contextlib
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from jaxgru._weights.errors import WeightsError
from jaxgru._weights.limits import EXPANSION, SMALL

# The address of an absent structure.
UNDEFINED = 2**64 - 1

# The minimal cost of a read, which limits the number of small reads.
_LEAST = 512
# The time for a checksum, relative to reading as many bytes.
_CHECKED = 16
_WORD = 2**32 - 1
_PIECE = 2**16


class Cursor:
    """Sequential reading of little-endian numbers and bytes."""

    def __init__(self, content: bytes, what: str) -> None:
        self._content = content
        self._what = what
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes; raise WeightsError if there are fewer."""
        end = self._at + count
        if end > len(self._content):
            raise WeightsError(
                f"{self._what} ends after {len(self._content)} bytes: expected {end} or more"
            )
        piece = self._content[self._at : end]
        self._at = end
        return piece

    def number(self, size: int) -> int:
        """Return the next number, unsigned, of this many bytes."""
        return int.from_bytes(self.take(size), "little")

    def numbers(self, *sizes: int) -> tuple[int, ...]:
        """Return the next numbers, unsigned, each of so many bytes."""
        return tuple(map(self.number, sizes))

    def version(self, least: int, most: int) -> int:
        """Return the next byte, the version of a structure; raise WeightsError for others."""
        version = self.number(1)
        if not least <= version <= most:
            raise WeightsError(f"{self._what} has version {version}: expected {least} to {most}")
        return version

    def address(self) -> int:
        """Return the next address or length: 8 bytes in every file that is read."""
        return self.number(8)

    def skip(self, count: int) -> None:
        """Skip bytes."""
        self.take(count)

    def expect(self, signature: bytes) -> None:
        """Skip the signature of a structure; raise WeightsError for another signature."""
        found = self.take(len(signature))
        if found != signature:
            raise WeightsError(f"{self._what} begins with {found!r}: expected {signature!r}")

    @property
    def left(self) -> int:
        """The number of bytes left."""
        return len(self._content) - self._at


class Blocks:
    """The parts of an open file; every read counts against one budget.

    Thousands of references in a hostile file can have the same large target. Counting the bytes
    that are read limits time and memory for all structures.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._allowed = max(SMALL, EXPANSION * size)
        self._left = self._allowed
        self._counted: set[str] = set()

    def read(self, address: int, length: int, what: str) -> bytes:
        """Return a part of the file."""
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
        """Return a part of the file, or a shorter one at the end of the file."""
        return self.read(address, min(length, max(self._size - address, 0)), what)

    def at(self, address: int, length: int, what: str, signature: bytes = b"") -> Cursor:
        """Return a part of the file without the signature at its beginning."""
        cursor = Cursor(self.read(address, length, what), what)
        cursor.expect(signature)
        return cursor

    def checked(self, address: int, length: int, what: str, signature: bytes) -> Cursor:
        """Return a part that ends with a checksum, without signature and checksum."""
        content = self.checked_at(address, length, what, signature, max(length - 4, 0))
        return Cursor(content[len(signature) : -4], what)

    def checked_at(
        self, address: int, length: int, what: str, signature: bytes, place: int | None
    ) -> bytes:
        """Return a part with a checksum at a position: of the bytes before, or of all others."""
        content = self.read(address, length, what)
        # Compared first, as another signature means another structure.
        Cursor(content, what).expect(signature)
        if place is not None:
            self.spend(_CHECKED * length)
            end = place + 4
            rest = bytes(4) + content[end:] if end < length else b""
            if lookup3(content[:place] + rest) != int.from_bytes(content[place:end], "little"):
                raise WeightsError(f"{what} at byte {address} is damaged: expected its checksum")
        return content

    def check_declared(self, count: int, what: str) -> None:
        """Raise WeightsError if more bytes are declared than a file of this size may allocate."""
        if count > self._allowed:
            raise WeightsError(
                f"{what} declares {count} bytes: expected at most {self._allowed} in a file of "
                f"{self._size} bytes"
            )

    @contextlib.contextmanager
    def once(self, name: str) -> Iterator[None]:
        """Count what a block reads only the first time that it has this name."""
        left = self._left
        yield
        if name in self._counted:
            self._left = left
        self._counted.add(name)

    def spend(self, count: int) -> None:
        """Count bytes before they are allocated; raise WeightsError beyond the budget."""
        self._left -= count
        if self._left < 0:
            raise WeightsError(
                f"reading it would take more than {self._allowed} bytes: expected no more of a "
                f"file of {self._size} bytes"
            )


def lookup3(content: bytes) -> int:
    """Return the checksum of a structure.

    >>> hex(lookup3(b"Four score and seven years ago"))
    '0x17770551'
    """
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(content)) & _WORD
    if not content:
        return c
    padded = content + bytes(-len(content) % 12)
    *words, last = struct.iter_unpack("<III", padded)
    for x, y, z in words:
        # Rotations are written out, because this loop takes most of the time.
        a, b, c = a + x, b + y, (c + z) & _WORD
        a = (a - c ^ (c << 4 | c >> 28)) & _WORD
        c = (c + b) & _WORD
        b = (b - a ^ (a << 6 | a >> 26)) & _WORD
        a = (a + c) & _WORD
        c = (c - b ^ (b << 8 | b >> 24)) & _WORD
        b = (b + a) & _WORD
        a = (a - c ^ (c << 16 | c >> 16)) & _WORD
        c = (c + b) & _WORD
        b = (b - a ^ (a << 19 | a >> 13)) & _WORD
        a = (a + c) & _WORD
        c = (c - b ^ (b << 4 | b >> 28)) & _WORD
        b = (b + a) & _WORD
    a, b, c = (a + last[0]) & _WORD, (b + last[1]) & _WORD, (c + last[2]) & _WORD
    c = ((c ^ b) - _turned(b, 14)) & _WORD
    a = ((a ^ c) - _turned(c, 11)) & _WORD
    b = ((b ^ a) - _turned(a, 25)) & _WORD
    c = ((c ^ b) - _turned(b, 16)) & _WORD
    a = ((a ^ c) - _turned(c, 4)) & _WORD
    b = ((b ^ a) - _turned(a, 14)) & _WORD
    return ((c ^ b) - _turned(b, 24)) & _WORD


def fletcher32(content: bytes) -> int:
    """Return the checksum of a chunk: sums of its big-endian words of 16 bits, modulo 65535."""
    words = np.frombuffer(content + bytes(len(content) % 2), ">u2")
    first = second = 0
    any_word = bool(words.any())
    for start in range(0, len(words), _PIECE):
        piece = words[start : start + _PIECE].astype(np.uint64)
        sums = np.cumsum(piece)
        second = (second + len(piece) * first + int(sums.sum())) % 65535
        first = (first + int(sums[-1])) % 65535
    # The sums are folded, not divided: 65535 stands for 0 unless every word is 0.
    first, second = (total or 65535 * any_word for total in (first, second))
    return second << 16 | first


def _turned(word: int, bits: int) -> int:
    """Return a word of 32 bits rotated to the left."""
    return (word << bits | word >> 32 - bits) & _WORD
