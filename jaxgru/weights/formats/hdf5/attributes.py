"""The attributes of an HDF5 object that hold text: strings, and lists of them."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import UNDEFINED, Blocks, Cursor
from jaxgru.weights.formats.hdf5.btrees import ATTRIBUTE_NAMES, tree_records
from jaxgru.weights.formats.hdf5.headers import ATTRIBUTE, ATTRIBUTE_INFO, Message, one_of
from jaxgru.weights.formats.hdf5.heaps import FractalHeap, Heaps
from jaxgru.weights.formats.hdf5.values import read_extent, read_type


class Attribute(NamedTuple):
    """An attribute as it is stored."""

    type: bytes
    space: bytes
    data: bytes


def find_attributes(blocks: Blocks, messages: list[Message], what: str) -> dict[str, Attribute]:
    """Return the attributes of an object by name; what they hold is parsed only when read."""
    found: dict[str, Attribute] = {}
    stored = [message for message in messages if message.kind == ATTRIBUTE]
    for message in (*stored, *_from_heap_of(blocks, messages, what)):
        name, attribute = _taken_apart(message, f"an attribute of {what}")
        if name in found:
            raise WeightsError(f"{what} has the attribute {name[:40]!a} twice: expected once")
        found[name] = attribute
    return found


def read_texts(blocks: Blocks, heaps: Heaps, attribute: Attribute, where: str) -> tuple[str, ...]:
    """Return the texts of an attribute: one, or a list of any length."""
    extent = read_extent(Cursor(attribute.space, where), where)
    values = 0 if extent is None else math.prod(extent[0])
    if values == 0:
        return ()
    type_ = read_type(Cursor(attribute.type, where), where)
    if not type_.is_text:
        raise WeightsError(f"{where} holds {type_.name}: expected text")
    if values * type_.size > len(attribute.data):
        raise WeightsError(
            f"{where} has {len(attribute.data)} bytes: expected {values * type_.size}"
        )
    data = Cursor(attribute.data, where)
    texts = []
    for _ in range(values):
        content = data.take(type_.size)
        if type_.is_variable:
            content = _from_heap(heaps, content, where)
        blocks.spend(len(content))
        texts.append(_decoded(content, where))
    return tuple(texts)


def _from_heap_of(blocks: Blocks, messages: list[Message], what: str) -> Iterator[Message]:
    """Yield the attributes that are not in the header: large ones, or more than eight."""
    info = one_of(messages, ATTRIBUTE_INFO, f"the attribute info of {what}")
    if info is None:
        return
    info.skip(1)
    info.skip(2 if info.number(1) & 1 else 0)
    heap, tree = info.address(), info.address()
    if heap == UNDEFINED:
        return
    stored = FractalHeap(blocks, heap, f"the heap of attributes of {what}")
    for record in tree_records(blocks, tree, ATTRIBUTE_NAMES, f"the attributes of {what}"):
        content = stored.read(record.take(stored.reference_size))
        is_shared = bool(record.number(1) & 2)
        yield Message(ATTRIBUTE, is_shared, content.take(content.left))


def _taken_apart(message: Message, what: str) -> tuple[str, Attribute]:
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
    return _decoded(name, what), Attribute(type_, space, cursor.take(cursor.left))


def _from_heap(heaps: Heaps, reference: bytes, where: str) -> bytes:
    cursor = Cursor(reference, where)
    length, address, index = cursor.number(4), cursor.address(), cursor.number(4)
    return heaps.read(address, index, length, where) if length else b""


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        raise WeightsError(f"{where} holds {content[:40]!r}: expected text in UTF-8") from None
