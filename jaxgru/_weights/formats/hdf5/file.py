"""An open HDF5 file: its groups, datasets and attributes by path, with hard links only."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.dtypes import FLOATS, NUMBERS, OnAccess, Unread
from jaxgru._weights.errors import WeightsError, plain
from jaxgru._weights.formats.hdf5 import datasets, heaps
from jaxgru._weights.formats.hdf5.blocks import UNDEFINED, Blocks, Cursor
from jaxgru._weights.formats.hdf5.headers import Header, Kind, find_root, read_header

_DEEPEST = 32
# The names of Keras are those of layers and weights.
_LONGEST_NAME = 1024
_TABLE_HEADER = 8
_TABLE_ENTRY = 40
_HEAP_HEADER = 32
_OFFSET_SIZE = 8
_SOFT = 2
_KINDS_OF_LINK = {0: "hard", 1: "soft", 64: "external"}
# The flags of a link, and of a group's link info.
_HAS_KIND, _HAS_ORDER, _HAS_ENCODING = 0x08, 0x04, 0x10
_IS_TRACKED = 0x01
# The order of creation, or 0 where it is not tracked; the name; the header's address.
_Link = tuple[int, str, int]


class Hdf5:
    """The groups, datasets and attributes of an open HDF5 file.

    A path is the names from the root, separated by ``/``; ``""`` is the root.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._blocks = Blocks(file, size)
        self._heaps = heaps.Heaps(self._blocks)
        # Of the objects read.
        self._attributes: dict[str, dict[str, datasets.Attribute]] = {}
        self._objects = _find_objects(self._blocks, find_root(self._blocks, size))

    def groups(self, path: str = "") -> tuple[str, ...]:
        """Return the names of the groups directly in a group, in the file's order."""
        return tuple(self._objects.get(path, _NOTHING).groups)

    def arrays(self, path: str = "") -> tuple[str, ...]:
        """Return the names of the datasets directly in a group, in the file's order."""
        return tuple(self._objects.get(path, _NOTHING).arrays)

    def all_arrays(self) -> OnAccess:
        """Return all datasets by path; those of another type than numbers are not read."""

        def get(path: str) -> Unread:
            type_ = datasets.type_of(self._objects[path].header)
            dtype = self._opaque(path) if type_.is_opaque else type_.dtype
            if dtype is None:
                return Unread(self.shape(path), type_.name)
            name = dtype.newbyteorder("=").name
            return Unread(self.shape(path), name, functools.partial(self.read, path, NUMBERS))

        return OnAccess([path for path, held in self._objects.items() if held.is_array], get)

    def has_group(self, path: str) -> bool:
        """Return whether there is a group at a path."""
        return self._objects.get(path, _NOTHING).is_group

    def has_array(self, path: str) -> bool:
        """Return whether there is a dataset at a path."""
        return self._objects.get(path, _NOTHING).is_array

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape that a dataset declares."""
        return datasets.shape_of(self._dataset(path))

    def read(self, path: str, kinds: Collection[str] = FLOATS) -> NDArray[Any]:
        """Return the numbers of a dataset, of one of some types; to read it again costs nothing."""
        with self._blocks.once(path):
            header = self._dataset(path)
            return datasets.read_dataset(self._blocks, header, self._opaque(path), kinds)

    def _opaque(self, path: str) -> np.dtype[Any] | None:
        # HDF5 has no bfloat16, so Keras writes opaque values, with the type as an attribute.
        return FLOATS["bfloat16"] if self.text(path, "dtype") == "bfloat16" else None

    def text(self, path: str, attribute: str) -> str | None:
        """Return the text of an attribute, None if there is no such attribute."""
        texts = self._attribute(path, attribute)
        if texts is None:
            return None
        if len(texts) != 1:
            raise WeightsError(
                f"the attribute {attribute} of {shown(path)} holds {len(texts)} texts: expected 1"
            )
        return texts[0]

    def texts(self, path: str, attribute: str) -> tuple[str, ...] | None:
        """Return the list of texts of an attribute, None if there is no such attribute.

        Keras splits a list that is too long for one attribute: ``name0``, ``name1``, ... The parts
        are joined.
        """
        texts = self._attribute(path, attribute)
        if texts is not None:
            return texts
        pieces: list[tuple[str, ...]] = []
        while (piece := self._attribute(path, f"{attribute}{len(pieces)}")) is not None:
            pieces.append(piece)
        return tuple(text for piece in pieces for text in piece) if pieces else None

    def _attribute(self, path: str, name: str) -> tuple[str, ...] | None:
        if path not in self._attributes:
            header = self._objects.get(path, _NOTHING).header
            self._attributes[path] = datasets.find_attributes(self._blocks, header)
        attribute = self._attributes[path].get(name)
        if attribute is None:
            return None
        where = f"the attribute {name} of {shown(path)}"
        return datasets.read_texts(self._blocks, self._heaps, attribute, where)

    def _dataset(self, path: str) -> Header:
        if not self.has_array(path):
            raise WeightsError(f"{shown(path)} is missing: expected an array there")
        return self._objects[path].header


@dataclasses.dataclass
class _Object:
    """A group, a dataset, or neither, such as a named type."""

    header: Header
    is_group: bool
    is_array: bool
    groups: list[str] = dataclasses.field(default_factory=list)  # names of members
    arrays: list[str] = dataclasses.field(default_factory=list)


_NOTHING = _Object(Header([], ""), is_group=False, is_array=False)


def _find_objects(blocks: Blocks, root: int) -> dict[str, _Object]:
    """Return every object of a file by its path."""
    objects = {"": _read(blocks, root, "")}
    if not objects[""].is_group:
        raise WeightsError(f"{shown('')} is not a group: expected one")
    seen = {root}
    pending = [("", 0)]
    while pending:
        path, depth = pending.pop()
        group = objects[path]
        for name, address in _members(blocks, group.header):
            inner = f"{path}/{name}" if path else name
            # Many long paths may take more memory than the file.
            blocks.spend(len(inner))
            if inner in objects:
                raise WeightsError(f"{shown(inner)} is a duplicate name: expected it once")
            if address in seen:
                raise WeightsError(
                    f"{shown(inner)} is linked more than once: expected one path to it"
                )
            seen.add(address)
            objects[inner] = member = _read(blocks, address, inner)
            if member.is_group:
                if depth == _DEEPEST:
                    raise WeightsError(f"{shown(inner)} is more than {_DEEPEST} groups deep")
                group.groups.append(name)
                pending.append((inner, depth + 1))
            elif member.is_array:
                group.arrays.append(name)
    return objects


def shown(path: str) -> str:
    """Return a path for a message, in one line of limited length."""
    return plain(f"/{path}", 120)


def _read(blocks: Blocks, address: int, path: str) -> _Object:
    header = read_header(blocks, address, shown(path))
    is_group = any(map(header.all, (Kind.SYMBOL_TABLE, Kind.LINK_INFO, Kind.LINK)))
    is_array = bool(header.all(Kind.LAYOUT)) and not is_group
    if is_array:
        datasets.check_size(blocks, header)
    return _Object(header, is_group, is_array)


def _members(blocks: Blocks, header: Header) -> Iterator[tuple[str, int]]:
    """Yield the name and the header's address of each member of a group, in the file's order."""
    what = header.what
    table = header.one(Kind.SYMBOL_TABLE, "symbol table")
    if table is not None:
        yield from _from_symbol_table(blocks, table.address(), table.address(), what)
    links = [
        _from_link(Cursor(message.body, f"a link in {what}"), what)
        for message in header.all(Kind.LINK)
    ]
    info = header.one(Kind.LINK_INFO, "link info")
    if info is not None:
        links += _from_heap(blocks, info, what)
    yield from ((name, address) for _, name, address in sorted(links))


def _from_heap(blocks: Blocks, info: Cursor, what: str) -> Iterator[_Link]:
    """Yield the links of a group outside of its header, usually more than eight."""
    _, flags = info.numbers(1, 1)
    _, heap, tree = info.numbers(8 if flags & _IS_TRACKED else 0, 8, 8)
    if heap == UNDEFINED:
        return
    links = heaps.FractalHeap(blocks, heap, f"the heap of links in {what}")
    for record in heaps.tree_records(
        blocks, tree, heaps.Records.LINK_NAMES, f"the links in {what}"
    ):
        record.skip(4)
        yield _from_link(links.read(record.take(links.reference_size)), what)


def _from_symbol_table(
    blocks: Blocks, root: int, heap: int, what: str
) -> Iterator[tuple[str, int]]:
    read_name = _names_in(blocks, heap, f"the names in {what}")
    where = f"the symbol table of {what}"
    for _, node in heaps.tree_entries(blocks, root, heaps.GROUPS, _OFFSET_SIZE, where):
        _, count = blocks.at(node, _TABLE_HEADER, where, b"SNOD\x01").numbers(1, 2)
        entries = blocks.at(node + _TABLE_HEADER, count * _TABLE_ENTRY, where)
        for _ in range(count):
            offset, address, kind, _ = entries.numbers(8, 8, 4, 20)
            name = read_name(offset)
            if kind == _SOFT:
                raise _refused(name, what, "soft")
            yield name, address


def _from_link(link: Cursor, what: str) -> _Link:
    link.version(1, 1)
    flags = link.number(1)
    kind = link.number(1) if flags & _HAS_KIND else 0
    order = link.number(8) if flags & _HAS_ORDER else 0
    link.skip(1 if flags & _HAS_ENCODING else 0)
    name = _as_name(link.take(link.number(1 << (flags & 0x03))), what)
    if kind != 0:
        raise _refused(name, what, _KINDS_OF_LINK.get(kind, "user-defined"))
    return order, name, link.address()


def _refused(name: str, what: str, kind: str) -> WeightsError:
    return WeightsError(
        f"{name[:80]!a} in {what} is a link of another kind ({kind}): expected hard links only, "
        "because others may lead out of the file"
    )


def _names_in(blocks: Blocks, address: int, what: str) -> Callable[[int], str]:
    """Return a function that reads the names of the members of a group by their heap offsets."""
    _, size, _, start = blocks.at(address, _HEAP_HEADER, what, b"HEAP\x00").numbers(3, 8, 8, 8)

    def read(offset: int) -> str:
        if offset >= size:
            raise WeightsError(f"{what} begin at {offset}: expected below {size}")
        length = min(size - offset, _LONGEST_NAME + 1)
        name, end, _ = blocks.read_up_to(start + offset, length, what).partition(b"\0")
        if not end:
            raise WeightsError(f"{what} have one without an end, or a longer one than 1024")
        return _as_name(name, what)

    return read


def _as_name(name: bytes, what: str) -> str:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise WeightsError(f"{what} has {name[:40]!r}: expected a name in UTF-8") from None
    if not text.isprintable() or not 0 < len(text) <= _LONGEST_NAME or "/" in text or text == ".":
        raise WeightsError(f"{what} has {text[:40]!a}: expected a printable name, without a slash")
    return text
