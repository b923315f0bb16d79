"""The wire format of protobuf: the fields of a message, without a library.

A message is a sequence of fields: a tag, which is ``number << 3 | wire type`` as a varint, and a
value, which is a varint, four bytes, eight bytes, or a length and bytes, for example a message.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from jaxgru._weights.errors import WeightsError

VARINT, LENGTH = 0, 2
FIXED = {1: 8, 5: 4}  # the sizes of the other wire types

Content: TypeAlias = bytes | bytearray | memoryview

_MOST_FIELDS = 2**18  # of one message, each of which takes about 300 bytes of memory
_ABSENT = [(0, memoryview(b""))]


def fields(content: Content) -> Iterator[tuple[int, int, memoryview]]:
    """Yield the number, the value and the bytes of each field of a message.

    The value of a varint is its number, that of four or eight bytes the unsigned number of them in
    little-endian, and that of a field with a length this length. The bytes are not copied.
    """
    view, at = memoryview(content), 0
    while at < len(view):
        try:
            number, wire_type, value, at = next_field(view, at)
        except IndexError:
            raise WeightsError("a message in it is cut short: expected all its fields") from None
        size = value if wire_type == LENGTH else FIXED.get(wire_type, 0)
        held = view[at : at + size]
        if len(held) < size:
            raise WeightsError("a message in it is cut short: expected all its fields")
        if wire_type in FIXED:
            value = int.from_bytes(held, "little")
        at += size
        yield number, value, held


class Message:
    """The fields of a message by their numbers. A missing field is 0, empty or None."""

    def __init__(self, content: Content, what: str) -> None:
        self._what = what  # for errors
        self._held: dict[int, list[tuple[int, memoryview]]] = {}
        for i, (number, value, held) in enumerate(fields(content)):
            if i == _MOST_FIELDS:
                raise WeightsError(f"{what} has more than {_MOST_FIELDS} fields: expected no more")
            self._held.setdefault(number, []).append((value, held))

    def has(self, field: int) -> bool:
        """Return whether a field is present."""
        return field in self._held

    def number(self, field: int) -> int:
        """Return a number; of several, the last one, as in protobuf."""
        return self._held.get(field, _ABSENT)[-1][0]

    def text(self, field: int) -> str:
        """Return a text."""
        try:
            return str(self._held.get(field, _ABSENT)[-1][1], "utf-8")
        except UnicodeDecodeError:
            raise WeightsError(
                f"{self._what} has no text in field {field}: expected UTF-8"
            ) from None

    def message(self, field: int) -> "Message":
        """Return a message."""
        return Message(self._held.get(field, _ABSENT)[-1][1], self._what)

    def messages(self, field: int) -> "Iterator[Message]":
        """Yield the messages of a repeated field."""
        for _, held in self._held.get(field, ()):
            yield Message(held, self._what)

    def values(self, field: int) -> Sequence[tuple[int, memoryview]]:
        """Return the values and the bytes of a repeated field, see ``fields``."""
        return self._held.get(field, ())


def next_field(content: Content, at: int) -> tuple[int, int, int, int]:
    """Return number, wire type, value or length, and where its bytes begin, or the next field.

    Raises IndexError if the tag or a varint is cut short.
    """
    tag, at = varint(content, at)
    number, wire_type = tag >> 3, tag & 7
    if wire_type in (VARINT, LENGTH) and number:
        value, at = varint(content, at)
        return number, wire_type, value, at
    if wire_type in FIXED and number:
        return number, wire_type, 0, at
    raise WeightsError(
        f"it has a field {number} of wire type {wire_type}: expected none in a message of protobuf"
    )


def varint(content: Content, at: int) -> tuple[int, int]:
    """Return a number at a place, and its end; raises IndexError if it is cut short."""
    if content[at] < 0x80:  # most have one byte
        return content[at], at + 1
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WeightsError("a number in it has more than 64 bits: expected at most 64")
