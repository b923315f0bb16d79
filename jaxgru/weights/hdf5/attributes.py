"""The attributes of an HDF5 object that hold text: strings, and lists of them."""

from typing import NamedTuple

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.hdf5.blocks import Blocks, Cursor
from jaxgru.weights.hdf5.headers import ATTRIBUTE, Message
from jaxgru.weights.hdf5.heaps import Heaps
from jaxgru.weights.hdf5.types import count, read_shape, read_type


def read_texts(
    blocks: Blocks, heaps: Heaps, messages: list[Message], name: str, what: str
) -> tuple[str, ...] | None:
    """Return what an attribute says: one text, or a list of any length; None if there is none.

    Args:
        blocks: the file.
        heaps: its heaps.
        messages: the header of the attribute's object.
        name: the attribute's.
        what: the object's name, for errors.

    Raises:
        WeightsError: the attribute is damaged, or holds no text.
    """
    where = f"the attribute {name} of {what}"
    parts = [
        _taken_apart(message, f"an attribute of {what}")
        for message in messages
        if message.kind == ATTRIBUTE
    ]
    found = [part for part in parts if part.name == name.encode()]
    if not found:
        return None
    if len(found) > 1:
        raise WeightsError(f"{where} is there {len(found)} times: expected once")
    values = count(read_shape(Cursor(found[0].space, where), where))
    if values == 0:
        return ()
    type_ = read_type(Cursor(found[0].type, where), where)
    if not type_.is_text:
        raise WeightsError(f"{where} holds {type_.name}: expected text")
    if values * type_.size > len(found[0].data):
        raise WeightsError(
            f"{where} has {len(found[0].data)} bytes: expected {values * type_.size}"
        )
    data = Cursor(found[0].data, where)
    texts = []
    for _ in range(values):
        content = data.take(type_.size)
        if type_.is_variable:
            content = _from_heap(heaps, content, where)
        blocks.spend(len(content))
        texts.append(_decoded(content, where))
    return tuple(texts)


class _Parts(NamedTuple):
    name: bytes
    type: bytes
    space: bytes
    data: bytes


def _taken_apart(message: Message, what: str) -> _Parts:
    if message.is_shared:
        raise WeightsError(f"{what} is shared with other objects: expected one of its own")
    cursor = Cursor(message.body, what)
    version = cursor.number(1)
    if version not in (1, 2, 3):
        raise WeightsError(f"{what} has version {version}: expected 1, 2 or 3")
    flags = cursor.number(1)
    if version > 1 and flags:
        raise WeightsError(f"{what} shares its type with other objects: expected one of its own")
    sizes = [cursor.number(2) for _ in range(3)]
    if version == 3:
        cursor.skip(1)  # the encoding of the name, which is UTF-8 or ASCII
    pieces = []
    for size in sizes:
        pieces.append(cursor.take(size))
        if version == 1:
            cursor.skip(-size % 8)
    name, type_, space = pieces
    return _Parts(name.rstrip(b"\0"), type_, space, cursor.take(cursor.left))


def _from_heap(heaps: Heaps, reference: bytes, where: str) -> bytes:
    cursor = Cursor(reference, where)
    length, address, index = cursor.number(4), cursor.address(), cursor.number(4)
    return heaps.read(address, index, length, where) if length else b""


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        raise WeightsError(f"{where} holds {content[:40]!r}: expected text in UTF-8") from None
