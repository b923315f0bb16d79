"""The header of an HDF5 object: messages with its kind, shape, type and data address.

Both versions are supported. The second has a signature, checksums and other messages. HDF5 writes
it if the lower version bound is 1.8 or later, or if the order of creation is tracked.
"""

import enum
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.hdf5.blocks import Blocks, Cursor
from jaxgru._weights.limits import MAX_AXES

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_FIRST_PREFIX = 16
_SECOND_PREFIX = 34  # at most
# The memory of a message without its content, in bytes; a file may have one per 4 bytes.
_MESSAGE = 256
_SHARED = 0x02
# The flags of a second header.
_HAS_ORDER, _HAS_LIMITS, _HAS_TIMES = 0x04, 0x10, 0x20
_INTEGER, _FLOAT, _STRING, _OPAQUE, _ENUM, _VARIABLE = 0, 1, 3, 5, 8, 9
# Other types are not read, only named in errors.
_OTHERS = {
    2: "times",
    4: "bits",
    6: "compounds",
    7: "references",
    9: "sequences",
    10: "arrays",
    11: "complex numbers",
}
# The layout of a float: its size, position and size of exponent and mantissa, and the bias.
_LAYOUTS: dict[tuple[int, ...], Any] = {
    (2, 10, 5, 0, 10, 15): np.dtype(np.float16),
    (2, 7, 8, 0, 7, 127): np.dtype(ml_dtypes.bfloat16),
    (4, 23, 8, 0, 23, 127): np.dtype(np.float32),
    (8, 52, 11, 0, 52, 1023): np.dtype(np.float64),
}


class Kind(enum.IntEnum):
    """The messages that are read, by their numbers."""

    DATASPACE = 0x01
    LINK_INFO = 0x02
    DATATYPE = 0x03
    LINK = 0x06
    EXTERNAL_FILES = 0x07
    LAYOUT = 0x08
    FILTERS = 0x0B
    ATTRIBUTE = 0x0C
    CONTINUATION = 0x10
    SYMBOL_TABLE = 0x11
    ATTRIBUTE_INFO = 0x15


class Message(NamedTuple):
    """One message of a header."""

    kind: int
    is_shared: bool  # the body is then a reference to a message elsewhere
    body: bytes


class Header(NamedTuple):
    """The messages of an object."""

    messages: list[Message]
    what: str  # the object's path, for errors

    def all(self, kind: Kind) -> list[Message]:
        """Return the messages of a kind."""
        return [message for message in self.messages if message.kind == kind]

    def one(self, kind: Kind, what: str) -> Cursor | None:
        """Return the body of the one message of a kind, None if there is none."""
        found, what = self.all(kind), f"the {what} of {self.what}"
        if not found:
            return None
        if len(found) > 1:
            raise WeightsError(f"{what} occurs {len(found)} times: expected once")
        if found[0].is_shared:
            raise WeightsError(f"{what} is shared with other objects: expected one of its own")
        return Cursor(found[0].body, what)

    def needed(self, kind: Kind, what: str) -> Cursor:
        """Return the body of the one message of a kind that an object must have."""
        message = self.one(kind, what)
        if message is None:
            raise WeightsError(f"the {what} of {self.what} is missing")
        return message


def find_root(blocks: Blocks, size: int) -> int:
    """Return the address of the root group's header."""
    what = "the HDF5 file's beginning"
    version = blocks.at(0, 9, what, SIGNATURE).number(1)
    if version in (0, 1):
        # Version 1 has one number more than version 0.
        rest = blocks.at(9, 63 + 4 * version, what)
        rest.skip(4)
    elif version in (2, 3):
        rest = blocks.checked(0, 48, what, SIGNATURE)
        rest.skip(1)
    else:
        raise WeightsError(f"its HDF5 layout is version {version}: expected 0 to 3")
    sizes = rest.numbers(1, 1)
    if sizes != (8, 8):
        raise WeightsError(f"its addresses and lengths are of {sizes} bytes: expected (8, 8)")
    _, base, _, end = rest.numbers(1 if version > 1 else 9 + 4 * version, 8, 8, 8)
    if base != 0:
        raise WeightsError(f"its HDF5 part begins at byte {base}: expected 0")
    if end > size:
        raise WeightsError(f"it is truncated: it has {size} bytes and declares {end}")
    rest.skip(16 if version < 2 else 0)
    return rest.address()


def read_header(blocks: Blocks, address: int, what: str) -> Header:
    """Return the header of the object at an address."""
    return Header(_read_messages(blocks, address, f"the header of {what}"), what)


def _read_messages(blocks: Blocks, address: int, what: str) -> list[Message]:
    version, _, count, _, length = blocks.at(address, _FIRST_PREFIX, what).numbers(1, 1, 2, 4, 4)
    if version == b"O"[0]:
        return _read_second(blocks, address, what)
    if version != 1:
        raise WeightsError(f"{what} begins with {version:#04x}: expected 0x01, or OHDR")
    pending = [(address + _FIRST_PREFIX, length)]
    seen = {pending[0][0]}
    messages: list[Message] = []
    while pending and len(messages) < count:
        content = blocks.at(*pending.pop(0), what)
        while content.left and len(messages) < count:
            blocks.spend(_MESSAGE)
            kind, size, flags, _ = content.numbers(2, 2, 1, 3)
            messages.append(Message(kind, bool(flags & _SHARED), content.take(size)))
            pending += _continued(messages[-1], seen, what)
    if len(messages) < count:
        raise WeightsError(f"{what} has {len(messages)} messages: expected {count}")
    return messages


def _read_second(blocks: Blocks, address: int, what: str) -> list[Message]:
    prefix = Cursor(blocks.read_up_to(address, _SECOND_PREFIX, what), what)
    prefix.expect(b"OHDR\x02")
    options = prefix.number(1)
    skipped = (16 if options & _HAS_TIMES else 0) + (4 if options & _HAS_LIMITS else 0)
    prefix.skip(skipped)
    width = 1 << (options & 3)
    whole = 6 + skipped + width + prefix.number(width) + 4
    content = blocks.checked(address, whole, what, b"OHDR")
    content.skip(2 + skipped + width)
    head = 6 if options & _HAS_ORDER else 4
    seen = {address}
    pending: list[tuple[int, int]] = []
    messages: list[Message] = []
    while True:
        while content.left >= head:  # fewer bytes are a gap
            blocks.spend(_MESSAGE)
            kind, size, flags, _ = content.numbers(1, 2, 1, head - 4)
            messages.append(Message(kind, bool(flags & _SHARED), content.take(size)))
            pending += _continued(messages[-1], seen, what)
        if not pending:
            return messages
        content = blocks.checked(*pending.pop(0), what, b"OCHK")


def _continued(message: Message, seen: set[int], what: str) -> list[tuple[int, int]]:
    """Return the continuation of a header after a message: one position or none."""
    if message.kind != Kind.CONTINUATION:
        return []
    address, length = Cursor(message.body, what).numbers(8, 8)
    if address in seen:
        raise WeightsError(f"{what} continues in a circle: expected an end")
    seen.add(address)
    return [(address, length)]


class Type(NamedTuple):
    """The type of a value."""

    size: int  # in bytes, where the value itself is kept
    dtype: np.dtype[Any] | None = None  # of numbers
    is_text: bool = False
    is_variable: bool = False  # text kept elsewhere, in a heap
    is_opaque: bool = False
    name: str = "floating-point numbers"  # for errors


def read_extent(space: Cursor, what: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the shape of a dataspace and its largest shape; None if there is no value."""
    version = space.version(1, 2)
    axes, flags = space.numbers(1, 1)
    if axes > MAX_AXES:
        raise WeightsError(f"{what} has {axes} axes: expected at most {MAX_AXES}")
    if version == 1:
        space.skip(5)
    elif space.number(1) == 2:
        return None
    shape = tuple(space.number(8) for _ in range(axes))
    return shape, tuple(space.number(8) for _ in range(axes)) if flags & 1 else shape


def read_type(message: Cursor, what: str) -> Type:
    """Return the type that a datatype message declares."""
    head, bits, size = message.numbers(1, 3, 4)
    class_, version = head & 0x0F, head >> 4
    if not 1 <= version <= 5:
        raise WeightsError(f"{what} has a type of version {version}: expected 1 to 5")
    if size == 0:
        raise WeightsError(f"{what} has values of 0 bytes: expected 1 or more")
    if class_ == _FLOAT:
        return _read_float(message, bits, size)
    if class_ == _INTEGER:
        return _read_integer(message, bits, size)
    if class_ == _ENUM:
        return _read_enumeration(message, size)
    if class_ == _STRING:
        return Type(size, is_text=True, name="text")
    if class_ == _VARIABLE and bits & 0x0F == 1:
        return Type(size, is_text=True, is_variable=True, name="text")
    if class_ == _OPAQUE:
        return Type(size, is_opaque=True, name="opaque values")
    return Type(size, name=_OTHERS.get(class_, f"values of the unknown class {class_}"))


def _read_integer(message: Cursor, bits: int, size: int) -> Type:
    layout = message.numbers(2, 2)
    if size not in (1, 2, 4, 8) or layout != (0, 8 * size):
        return Type(size, name=f"integers of an unknown kind, {size} bytes each")
    order, kind = ">" if bits & 1 else "<", "i" if bits & 8 else "u"
    return Type(size, np.dtype(f"{order}{kind}{size}"), name="integers")


def _read_enumeration(message: Cursor, size: int) -> Type:
    """Return h5py's type of booleans, an enumeration of the bytes FALSE and TRUE."""
    message.skip(12)  # the type of the values
    # Their names, then their values, 0 and 1.
    members = [part for part in message.take(message.left).split(b"\0") if part]
    is_bool = size == 1 and members == [b"FALSE", b"TRUE", b"\1"]
    return Type(size, np.dtype(np.bool_) if is_bool else None, name="enumerations")


def _read_float(message: Cursor, bits: int, size: int) -> Type:
    message.skip(4)
    layout = (size, *message.numbers(1, 1, 1, 1, 4))
    dtype = _LAYOUTS.get(layout)
    # Bit 6 is the byte order of a VAX; the sign is always the highest bit.
    if dtype is None or bits & 0x40 or bits >> 8 != 8 * size - 1:
        return Type(size, name=f"floating-point numbers of an unknown kind, {size} bytes each")
    return Type(size, dtype.newbyteorder(">" if bits & 1 else "<"))
