"""The members of an HDF5 group, each by its name: hard links alone, everything else is refused."""

from collections.abc import Iterator

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import UNDEFINED, Blocks, Cursor
from jaxgru.weights.formats.hdf5.btrees import GROUPS, LINK_NAMES, tree_entries, tree_records
from jaxgru.weights.formats.hdf5.headers import LINK, LINK_INFO, SYMBOL_TABLE, Message, one_of
from jaxgru.weights.formats.hdf5.heaps import FractalHeap

# Keras' names are those of layers and weights.
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


def is_group(messages: list[Message]) -> bool:
    """Return whether a header is that of a group."""
    return any(message.kind in (SYMBOL_TABLE, LINK_INFO, LINK) for message in messages)


def members(blocks: Blocks, messages: list[Message], what: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the header's address of each member of a group, in the file's order."""
    table = one_of(messages, SYMBOL_TABLE, f"the symbol table of {what}")
    if table is not None:
        yield from _from_symbol_table(blocks, table.address(), table.address(), what)
    links = [
        _from_link(Cursor(message.body, f"a link in {what}"), what)
        for message in messages
        if message.kind == LINK
    ]
    info = one_of(messages, LINK_INFO, f"the link info of {what}")
    if info is not None:
        links += _from_heap(blocks, info, what)
    yield from ((name, address) for _, name, address in sorted(links))


def _from_heap(blocks: Blocks, info: Cursor, what: str) -> Iterator[_Link]:
    """Yield the links of a group that are not in its header: more than eight, usually."""
    info.skip(1)
    if info.number(1) & _IS_TRACKED:
        info.skip(8)
    heap, tree = info.address(), info.address()
    if heap == UNDEFINED:
        return
    links = FractalHeap(blocks, heap, f"the heap of links in {what}")
    for record in tree_records(blocks, tree, LINK_NAMES, f"the links in {what}"):
        record.skip(4)
        yield _from_link(links.read(record.take(links.reference_size)), what)


def _from_symbol_table(
    blocks: Blocks, root: int, heap: int, what: str
) -> Iterator[tuple[str, int]]:
    names = _Names(blocks, heap, f"the names in {what}")
    where = f"the symbol table of {what}"
    for _, node in tree_entries(blocks, root, GROUPS, _OFFSET_SIZE, where):
        head = Cursor(blocks.read(node, _TABLE_HEADER, where), where)
        head.expect(b"SNOD\x01")
        head.skip(1)
        count = head.number(2)
        entries = Cursor(blocks.read(node + _TABLE_HEADER, count * _TABLE_ENTRY, where), where)
        for _ in range(count):
            name = names.at(entries.address())
            address = entries.address()
            kind = entries.number(4)
            entries.skip(20)
            if kind == _SOFT:
                raise _refused(name, what, "soft")
            yield name, address


def _from_link(link: Cursor, what: str) -> _Link:
    version = link.number(1)
    if version != 1:
        raise WeightsError(f"a link in {what} has version {version}: expected 1")
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
        f"{name[:80]!a} in {what} is a link of another kind ({kind}): expected hard links "
        "alone, as others could lead out of the file"
    )


class _Names:
    """The heap where a group keeps the names of its members."""

    def __init__(self, blocks: Blocks, address: int, what: str) -> None:
        head = Cursor(blocks.read(address, _HEAP_HEADER, what), what)
        head.expect(b"HEAP\x00")
        head.skip(3)
        self._size = head.address()
        head.skip(8)
        self._start = head.address()
        self._blocks = blocks
        self._what = what

    def at(self, offset: int) -> str:
        if offset >= self._size:
            raise WeightsError(f"{self._what} begin at {offset}: expected below {self._size}")
        length = min(self._size - offset, _LONGEST_NAME + 1)
        content = self._blocks.read_up_to(self._start + offset, length, self._what)
        name, end, _ = content.partition(b"\0")
        if not end:
            raise WeightsError(f"{self._what} have one without an end, or a longer one than 1024")
        return _as_name(name, self._what)


def _as_name(name: bytes, what: str) -> str:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise WeightsError(f"{what} has {name[:40]!r}: expected a name in UTF-8") from None
    if not text.isprintable() or not 0 < len(text) <= _LONGEST_NAME or "/" in text or text == ".":
        raise WeightsError(f"{what} has {text[:40]!a}: expected a printable name, without a slash")
    return text
