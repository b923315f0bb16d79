"""The header of an HDF5 object: messages that say what it is, where its data lie, its attributes.

Read here is the header's first version, which HDF5 writes unless newer features are asked for.
"""

from typing import NamedTuple

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import Blocks
from jaxgru.weights.formats.hdf5.cursor import Cursor

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
_CONTINUATION = 0x10

_PREFIX = 16
# What a message takes in memory beside its content, in bytes; there may be one for every 8 bytes.
_MESSAGE = 256
_SHARED = 0x02


class Message(NamedTuple):
    """One message of a header."""

    kind: int
    is_shared: bool  # the body is then a reference to a message elsewhere
    body: bytes


def read_header(blocks: Blocks, address: int, what: str) -> list[Message]:
    """Return the messages of the object at an address.

    Args:
        blocks: the file.
        address: where the header begins.
        what: the object's name, for errors.

    Raises:
        WeightsError: there is no such header, or it is damaged.
    """
    what = f"the header of {what}"
    prefix = Cursor(blocks.read(address, _PREFIX, what), what)
    version = prefix.number(1)
    if version != 1:
        raise WeightsError(
            f"{what} begins with {version:#04x}: expected version 1, the one of files written "
            "without HDF5's newer features"
        )
    prefix.skip(1)
    count = prefix.number(2)
    prefix.skip(4)
    pending = [(address + _PREFIX, prefix.number(4))]
    seen = {pending[0][0]}
    messages: list[Message] = []
    while pending and len(messages) < count:
        content = Cursor(blocks.read(*pending.pop(0), what), what)
        while content.left and len(messages) < count:
            blocks.spend(_MESSAGE)
            message = _read_message(content)
            messages.append(message)
            if message.kind == _CONTINUATION:
                place = Cursor(message.body, what)
                pending.append((place.address(), place.address()))
                if pending[-1][0] in seen:
                    raise WeightsError(f"{what} goes on in a circle: expected an end")
                seen.add(pending[-1][0])
    if len(messages) < count:
        raise WeightsError(f"{what} has {len(messages)} messages: expected {count}")
    return messages


def one_of(messages: list[Message], kind: int, what: str) -> Cursor | None:
    """Return the body of the one message of a kind, None if there is none.

    Args:
        messages: a header's.
        kind: the kind wanted.
        what: what the message is of which object, for errors.

    Raises:
        WeightsError: there are several, or the one is kept elsewhere.
    """
    found = [message for message in messages if message.kind == kind]
    if not found:
        return None
    if len(found) > 1:
        raise WeightsError(f"{what} is there {len(found)} times: expected once")
    if found[0].is_shared:
        raise WeightsError(f"{what} is shared with other objects: expected one of its own")
    return Cursor(found[0].body, what)


def _read_message(content: Cursor) -> Message:
    kind = content.number(2)
    size = content.number(2)
    flags = content.number(1)
    content.skip(3)
    return Message(kind, bool(flags & _SHARED), content.take(size))
