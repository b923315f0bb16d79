"""Reading numbers and pieces from the front of bytes."""

from jaxgru.weights.errors import WeightsError


class Cursor:
    """Bytes being read from the front, as little-endian numbers and pieces.

    Args:
        content: the bytes.
        what: their name, for errors.
    """

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
        """Return the next number, of so many bytes and not negative."""
        return int.from_bytes(self.take(size), "little")

    def address(self) -> int:
        """Return the next address, or length, which are of 8 bytes in every file that is read."""
        return self.number(8)

    def skip(self, count: int) -> None:
        """Pass over bytes."""
        self.take(count)

    def expect(self, signature: bytes) -> None:
        """Pass over the signature that a structure begins with; raise WeightsError for others."""
        found = self.take(len(signature))
        if found != signature:
            raise WeightsError(f"{self._what} begins with {found!r}: expected {signature!r}")

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._content) - self._at
