"""The numbers of an HDF5 dataset, and the text attributes of an object."""

import math
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.errors import WeightsError, each_once
from jaxgru._weights.formats.hdf5.blocks import UNDEFINED, Blocks, Cursor
from jaxgru._weights.formats.hdf5.chunks import read_chunks
from jaxgru._weights.formats.hdf5.headers import Header, Kind, Message, Type, read_extent, read_type
from jaxgru._weights.formats.hdf5.heaps import FractalHeap, Heaps, Records, tree_records
from jaxgru._weights.limits import bytes_of, check_held

_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)


def shape_of(header: Header) -> tuple[int, ...]:
    """Return the shape of a dataset, ``(0,)`` for one without any value."""
    return _extent(header)[0]


def type_of(header: Header) -> Type:
    """Return the type of the values of a dataset."""
    return read_type(header.needed(Kind.DATATYPE, "type"), header.what)


def check_size(blocks: Blocks, header: Header) -> None:
    """Raise WeightsError if a dataset of any type declares more than the file may allocate."""
    types = header.all(Kind.DATATYPE)
    # A named type has no size here. Reading such a dataset is an error.
    itemsize = int.from_bytes(types[0].body[4:8], "little") if types else 0
    blocks.check_declared(math.prod(shape_of(header)) * itemsize, header.what)


def read_dataset(
    blocks: Blocks,
    header: Header,
    opaque: np.dtype[Any] | None,
    kinds: Collection[str],
) -> NDArray[Any]:
    """Return the numbers of a dataset, of one of some types by name."""
    what = header.what
    if header.all(Kind.EXTERNAL_FILES):
        raise WeightsError(
            f"{what} has its values in another file (external storage): expected them here"
        )
    shape, limits = _extent(header)
    type_ = type_of(header)
    dtype = type_.dtype
    if type_.is_opaque and opaque is not None and opaque.itemsize == type_.size:
        dtype = opaque
    if dtype is None or dtype.newbyteorder("=").name not in kinds:
        raise WeightsError(f"{what} holds {type_.name}: expected floating-point numbers")
    size = bytes_of(what, shape, dtype.itemsize)
    layout = header.needed(Kind.LAYOUT, "layout")
    version, kind = layout.version(3, 5), layout.number(1)
    if kind == _VIRTUAL:
        raise WeightsError(f"{what} is made of others (virtual): expected values of its own")
    is_bool = dtype == np.bool_
    dtype = np.dtype(np.uint8) if is_bool else dtype
    if kind == _CHUNKED:
        chunks = read_chunks(blocks, header, layout, version, shape, limits, dtype)
        return chunks != 0 if is_bool else _native(chunks)
    if kind == _COMPACT:
        held = layout.number(2)
        content = layout.take(held)
    elif kind == _CONTIGUOUS:
        address, held = layout.numbers(8, 8)
        if address == UNDEFINED:
            raise WeightsError(f"{what} has no values in the file: expected {size} bytes")
        content = blocks.read(address, held, what) if held == size else b""
    else:
        raise WeightsError(f"{what} has a layout of kind {kind}: expected 0 to 3")
    check_held(what, shape, dtype, held)
    blocks.spend(size)
    array = np.frombuffer(content, dtype).reshape(shape)
    return array != 0 if is_bool else _native(array)


def _extent(header: Header) -> tuple[tuple[int, ...], tuple[int, ...]]:
    extent = read_extent(header.needed(Kind.DATASPACE, "shape"), header.what)
    return ((0,), (0,)) if extent is None else extent


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of an array in native byte order."""
    return array.astype(array.dtype.newbyteorder("="))


class Attribute(NamedTuple):
    """A stored attribute."""

    type: bytes
    space: bytes
    data: bytes


def find_attributes(blocks: Blocks, header: Header) -> dict[str, Attribute]:
    """Return the attributes of an object by name; their content is parsed when it is read."""
    messages = (*header.all(Kind.ATTRIBUTE), *_from_heap_of(blocks, header))
    what = f"an attribute of {header.what}"
    return each_once((_taken_apart(message, what) for message in messages), f"{what}, ")


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


def _from_heap_of(blocks: Blocks, header: Header) -> Iterator[Message]:
    """Yield the attributes outside of the header: large ones, or more than eight."""
    info = header.one(Kind.ATTRIBUTE_INFO, "attribute info")
    if info is None:
        return
    _, flags = info.numbers(1, 1)
    _, heap, tree = info.numbers(2 if flags & 1 else 0, 8, 8)
    if heap == UNDEFINED:
        return
    stored = FractalHeap(blocks, heap, f"the heap of attributes of {header.what}")
    where = f"the attributes of {header.what}"
    for record in tree_records(blocks, tree, Records.ATTRIBUTE_NAMES, where):
        content = stored.read(record.take(stored.reference_size))
        is_shared = bool(record.number(1) & 2)
        yield Message(Kind.ATTRIBUTE, is_shared, content.take(content.left))


def _taken_apart(message: Message, what: str) -> tuple[str, Attribute]:
    if message.is_shared:
        raise WeightsError(f"{what} is shared with other objects: expected one of its own")
    cursor = Cursor(message.body, what)
    version = cursor.version(1, 3)
    flags, *sizes = cursor.numbers(1, 2, 2, 2)
    if version > 1 and flags:
        raise WeightsError(f"{what} shares its type with other objects: expected one of its own")
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
    length, address, index = Cursor(reference, where).numbers(4, 8, 4)
    return heaps.read(address, index, length, where) if length else b""


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        raise WeightsError(f"{where} holds {content[:40]!r}: expected text in UTF-8") from None
