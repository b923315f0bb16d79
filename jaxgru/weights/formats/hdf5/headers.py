"""The header of an HDF5 object: messages for its kind, where its data lie, and its attributes.

Both versions are read. The second has a signature, checksums, and messages of its own; HDF5 writes
it where the file's lower bound is 1.8 or later, or where the order of creation is tracked.
"""

from typing import NamedTuple

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import Blocks, Cursor

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# The kinds of messages that are read, by their numbers.
DATASPACE = 0x01
LINK_INFO = 0x02
DATATYPE = 0x03
LINK = 0x06
EXTERNAL_FILES = 0x07
LAYOUT = 0x08
FILTERS = 0x0B
ATTRIBUTE = 0x0C
SYMBOL_TABLE = 0x11
ATTRIBUTE_INFO = 0x15
_CONTINUATION = 0x10

_FIRST_PREFIX = 16
_SECOND_PREFIX = 34  # at most
# The memory of a message beside its content, in bytes; there may be one for every 4 bytes.
_MESSAGE = 256
_SHARED = 0x02
# The flags of a second header.
_HAS_ORDER, _HAS_LIMITS, _HAS_TIMES = 0x04, 0x10, 0x20


class Message(NamedTuple):
    """One message of a header."""

    kind: int
    is_shared: bool  # the body is then a reference to a message elsewhere
    body: bytes


def find_root(blocks: Blocks, size: int) -> int:
    """Return the address of the root group's header."""
    what = "the HDF5 file's beginning"
    head = Cursor(blocks.read(0, 9, what), what)
    head.expect(SIGNATURE)
    version = head.number(1)
    if version in (0, 1):
        # Version 1 has one number more than version 0.
        rest = Cursor(blocks.read(9, 63 + 4 * version, what), what)
        rest.skip(4)
    elif version in (2, 3):
        rest = blocks.checked(0, 48, what, SIGNATURE)
        rest.skip(1)
    else:
        raise WeightsError(f"its HDF5 layout is version {version}: expected 0 to 3")
    sizes = rest.number(1), rest.number(1)
    if sizes != (8, 8):
        raise WeightsError(f"its addresses and lengths are of {sizes} bytes: expected (8, 8)")
    rest.skip(1 if version > 1 else 9 + 4 * version)
    base = rest.address()
    rest.skip(8)
    end = rest.address()
    if base != 0:
        raise WeightsError(f"its HDF5 part begins at byte {base}: expected 0")
    if end > size:
        raise WeightsError(f"it is cut short: it has {size} bytes, and {end} by its own account")
    rest.skip(16 if version < 2 else 0)
    return rest.address()


def read_header(blocks: Blocks, address: int, what: str) -> list[Message]:
    """Return the messages of the object at an address."""
    what = f"the header of {what}"
    prefix = Cursor(blocks.read(address, _FIRST_PREFIX, what), what)
    version = prefix.number(1)
    if version == b"O"[0]:
        return _read_second(blocks, address, what)
    if version != 1:
        raise WeightsError(f"{what} begins with {version:#04x}: expected 0x01, or OHDR")
    prefix.skip(1)
    count = prefix.number(2)
    prefix.skip(4)
    pending = [(address + _FIRST_PREFIX, prefix.number(4))]
    seen = {pending[0][0]}
    messages: list[Message] = []
    while pending and len(messages) < count:
        content = Cursor(blocks.read(*pending.pop(0), what), what)
        while content.left and len(messages) < count:
            blocks.spend(_MESSAGE)
            kind, size, flags = content.number(2), content.number(2), content.number(1)
            content.skip(3)
            messages.append(Message(kind, bool(flags & _SHARED), content.take(size)))
            pending += _continued(messages[-1], seen, what)
    if len(messages) < count:
        raise WeightsError(f"{what} has {len(messages)} messages: expected {count}")
    return messages


def one_of(messages: list[Message], kind: int, what: str) -> Cursor | None:
    """Return the body of the one message of a kind, None if there is none."""
    found = [message for message in messages if message.kind == kind]
    if not found:
        return None
    if len(found) > 1:
        raise WeightsError(f"{what} is there {len(found)} times: expected once")
    if found[0].is_shared:
        raise WeightsError(f"{what} is shared with other objects: expected one of its own")
    return Cursor(found[0].body, what)


def _read_second(blocks: Blocks, address: int, what: str) -> list[Message]:
    prefix = Cursor(blocks.read_up_to(address, _SECOND_PREFIX, what), what)
    prefix.expect(b"OHDR\x02")
    flags = prefix.number(1)
    skipped = (16 if flags & _HAS_TIMES else 0) + (4 if flags & _HAS_LIMITS else 0)
    prefix.skip(skipped)
    width = 1 << (flags & 3)
    whole = 6 + skipped + width + prefix.number(width) + 4
    content = blocks.checked(address, whole, what, b"OHDR")
    content.skip(2 + skipped + width)
    head = 6 if flags & _HAS_ORDER else 4
    seen = {address}
    pending: list[tuple[int, int]] = []
    messages: list[Message] = []
    while True:
        while content.left >= head:  # fewer bytes are a gap
            blocks.spend(_MESSAGE)
            kind, size, shared = content.number(1), content.number(2), content.number(1) & _SHARED
            content.skip(head - 4)
            messages.append(Message(kind, bool(shared), content.take(size)))
            pending += _continued(messages[-1], seen, what)
        if not pending:
            return messages
        content = blocks.checked(*pending.pop(0), what, b"OCHK")


def _continued(message: Message, seen: set[int], what: str) -> list[tuple[int, int]]:
    """Return where a header goes on after a message: at one place or none."""
    if message.kind != _CONTINUATION:
        return []
    place = Cursor(message.body, what)
    address, length = place.address(), place.address()
    if address in seen:
        raise WeightsError(f"{what} goes on in a circle: expected an end")
    seen.add(address)
    return [(address, length)]
