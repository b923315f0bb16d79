"""MessagePack files of Flax, as written by ``flax.serialization.to_bytes``.

A state is a map of maps. An array has the extension type of Flax with code 1; its content is again
MessagePack, with the shape, the name of the dtype and the bytes. An array of over 1 GiB is a map of
pieces. Numbers, text and the state of an optimizer are ignored. Flax is not used.

Source: ``flax/serialization.py``.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru._optional import need
from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.dtypes import NUMBERS, Unread, from_bits
from jaxgru._weights.errors import WeightsError, damaged, each_once, shown
from jaxgru._weights.libraries.names import label
from jaxgru._weights.limits import MAX_AXES, bytes_of, check_held

_ARRAY = 1
_CHUNKED = "__msgpack_chunked_array__"
# The memory for objects other than arrays: about 100 bytes each and the name, which is all keys of
# the path. Real states have some thousands of objects, ten levels deep.
_MAX_OVERHEAD = 20_000_000
_OBJECT = 100
_MAX_DEPTH = 64
# The kinds of objects by their first byte.
_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_LISTS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
_TEXTS = frozenset((*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB))
_EXTENSIONS = frozenset((*range(0xC7, 0xCA), *range(0xD4, 0xD9)))
# Integers from -32 to 127, longer integers, false and true.
_PLAIN = frozenset((*range(0x80), *range(0xE0, 0x100), *range(0xCC, 0xD4), 0xC2, 0xC3))


def recognizes(look: FileProbe) -> bool:
    """Return whether a file begins with a map that is not empty and whose first key is text."""
    head = look.head.ljust(6, b"\0")
    if head[0] not in _MAPS:
        return False
    length = {0xDE: 2, 0xDF: 4}.get(head[0], 0)
    count = int.from_bytes(head[1 : 1 + length]) if length else head[0] & 0x0F
    # Each pair has at least two bytes.
    return head[1 + length] in _TEXTS and 0 < 2 * count < look.size


def read(source: Source) -> Stored:
    """Return the arrays of an open file of MessagePack."""
    msgpack = need("msgpack", "msgpack", "reading Flax's MessagePack")
    content = source.file.read()
    unpacker = msgpack.Unpacker(
        max_buffer_size=len(content),
        strict_map_key=False,
        ext_hook=functools.partial(_extension, msgpack),
    )
    unpacker.feed(content)
    with damaged("the MessagePack is damaged", msgpack.UnpackException, ValueError):
        held = each_once(_Walk(unpacker, content).values("", _MAX_DEPTH))
    # A file with more bytes is probably of another format.
    if unpacker.tell() != len(content):
        raise WeightsError(
            f"there are {len(content) - unpacker.tell()} bytes after the map: expected the end"
        )
    return Stored(_arrays_of_target(held), rewrite=functools.partial(_rewrite, msgpack, content))


def _rewrite(msgpack: Any, content: bytes, arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    tree = msgpack.unpackb(content, strict_map_key=False, raw=False)
    for name, array in arrays.items():
        *outer, own = name.split("/")
        at = functools.reduce(_member, outer, tree)
        if not isinstance(_member(at, own), msgpack.ExtType):
            raise WeightsError(f"{shown(name)} is in pieces: expected an array of under 1 GiB")
        parts = (array.shape, array.dtype.name, np.ascontiguousarray(array).tobytes())
        packed = msgpack.ExtType(_ARRAY, msgpack.packb(parts, use_bin_type=True))
        at[own if isinstance(at, dict) and own in at else int(own)] = packed
    path.write_bytes(msgpack.packb(tree, use_bin_type=True, strict_types=True))


def _member(tree: Any, key: str) -> Any:
    return tree[key if isinstance(tree, dict) and key in tree else int(key)]


class _Walk:
    """Reads MessagePack object by object, without building lists and maps.

    The library would allocate the declared size of each list, also of lists in lists.
    """

    def __init__(self, unpacker: Any, content: bytes) -> None:
        self._unpacker = unpacker
        self._content = content
        self._left = _MAX_OVERHEAD

    def values(self, path: str, depth: int) -> Iterator[tuple[str, Any]]:
        """Yield the arrays and integers of the next object with the keys of their paths."""
        head = self._head(path)
        if head in _MAPS:
            keys = (self._key(path) for _ in range(self._unpacker.read_map_header()))
        elif head in _LISTS:
            keys = (str(i) for i in range(self._unpacker.read_array_header()))
        elif head in _EXTENSIONS or head in _PLAIN:
            yield path, self._unpacker.unpack()
            return
        else:
            self._unpacker.skip()
            return
        if depth == 0:
            raise WeightsError(f"{shown(path)} is {_MAX_DEPTH} maps deep: expected fewer")
        seen = set()
        for key in keys:
            inner = f"{path}/{key}" if path else key
            if key in seen:
                raise WeightsError(f"{shown(inner)} is a duplicate name: expected it once")
            seen.add(key)
            yield from self.values(inner, depth - 1)

    def _head(self, path: str) -> int:
        """Return the first byte of the next object, which is its kind."""
        self._left -= _OBJECT + len(path)
        if self._left < 0:
            raise WeightsError("it has too many objects for weights: expected some thousands")
        place: int = self._unpacker.tell()
        if place >= len(self._content):
            raise WeightsError("the MessagePack ends early: expected more objects")
        return self._content[place]

    def _key(self, path: str) -> str:
        head = self._head(path)
        if head not in _TEXTS and head not in _PLAIN:
            raise WeightsError(f"a key begins with byte {head:#x}: expected text or whole numbers")
        return str(self._unpacker.unpack())


def _extension(msgpack: Any, code: int, data: bytes) -> NDArray[Any] | Unread | None:
    if code != _ARRAY:
        return None
    # The array's shape is the only list within, and the largest.
    parts = msgpack.unpackb(data, raw=True, max_array_len=MAX_AXES, max_map_len=0, max_ext_len=0)
    match parts:
        case [list(sizes), bytes(name), bytes(content)] if all(
            type(size) is int and size >= 0 for size in sizes
        ):
            shape, dtype_name = tuple(sizes), name.decode("ascii", "backslashreplace")
        case _:
            raise WeightsError("an array is damaged: expected a shape, a dtype and bytes")
    if dtype_name not in NUMBERS:
        return Unread(shape, shown(dtype_name))
    dtype = NUMBERS[dtype_name]
    check_held("an array", shape, dtype, len(content), may_be_empty=True)
    return from_bits(content, dtype).reshape(shape)


def _arrays_of_target(held: dict[str, Any]) -> dict[str, NDArray[Any] | Unread]:
    """Return the arrays, with pieces joined."""
    mark = f"/{_CHUNKED}"
    pieces: dict[str, dict[str, Any]] = {
        name.removesuffix(mark): {} for name in held if name.endswith(mark)
    }
    arrays: dict[str, NDArray[Any] | Unread] = {}
    for name, value in held.items():
        place, *own = name.rsplit("/", 2)
        if place in pieces and len(own) == 2:
            pieces[place]["/".join(own)] = value
        elif isinstance(value, np.ndarray | Unread):
            arrays[name] = value
    return arrays | {place: _joined(place, parts) for place, parts in pieces.items()}


def _joined(place: str, parts: dict[str, Any]) -> NDArray[Any] | Unread:
    shape, chunks = _numbered(parts, "shape"), _numbered(parts, "chunks")
    if not all(type(size) is int for size in shape) or len(shape) + len(chunks) != len(parts):
        raise WeightsError(f"{label(place, _CHUNKED)} has other parts: expected shape and chunks")
    for chunk in chunks:
        if isinstance(chunk, Unread):
            return Unread(shape, chunk.dtype)
    if {getattr(chunk, "ndim", None) for chunk in chunks} != {1} or (
        len({chunk.dtype for chunk in chunks}) > 1
        or bytes_of(place[:80], shape, chunks[0].itemsize) != sum(c.nbytes for c in chunks)
    ):
        raise WeightsError(f"the chunks of {label('', place)} do not fit its shape {shape[:8]}")
    return np.concatenate(chunks).reshape(shape)


def _numbered(parts: dict[str, Any], name: str) -> tuple[Any, ...]:
    """Return the parts name/0, name/1 and so on."""
    names = itertools.takewhile(parts.__contains__, (f"{name}/{i}" for i in itertools.count()))
    return tuple(parts[name] for name in names)
