"""TensorFlow's checkpoints: an index, which is a table of entries, and shards with their bytes.

The key ``""`` has the number of shards, any other the place of a variable. A variable that a
partitioner has cut has an entry without a place, and one for each slice. Shards are in the folder
of the index, have its name, and are read when a variable is read.

Source: ``tensorflow/core/protobuf/tensor_bundle.proto`` and ``tensor_bundle.cc``.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.beside import open_beside, read_beside
from jaxgru._weights.dtypes import FLOATS, OnAccess, Unread
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.protobuf import Message, varint
from jaxgru._weights.formats.tensorflow.crc32c import masked_crc32c
from jaxgru._weights.formats.tensorflow.table import LARGEST, read_table
from jaxgru._weights.limits import MAX_AXES, Budget, bytes_of, check_held, fill

_MOST_SHARDS = 1024
# By DataType of types.proto; of those without a NumPy dtype the numbers are not read.
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    14: np.dtype(ml_dtypes.bfloat16),
    19: np.dtype(np.float16),
}
_STRING = 7


class _Entry(NamedTuple):
    """A variable, or a slice of one, by its place in a shard."""

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: tuple[tuple[tuple[int, int | None], ...], ...]  # begin and length; None: the whole axis


class Bundle:
    """An open checkpoint."""

    def __init__(self, index: Path, content: bytes) -> None:
        self._prefix = index.with_suffix("")
        table = read_table(content)
        header = Message(table.pop(b"", b""), "the header")
        if not table or header.number(2):
            raise WeightsError("its numbers are big-endian, or it is empty: expected variables")
        self._shard_count = header.number(1)
        if not 1 <= self._shard_count <= _MOST_SHARDS:
            raise WeightsError(
                f"it declares {self._shard_count} shards: expected 1 to {_MOST_SHARDS}"
            )
        self._table = table
        self._sizes: dict[int, int] = {}
        self._budget = Budget(len(content))
        self._counted: set[str] = set()
        keys = {key.decode("utf-8", "backslashreplace"): key for key in table if key[0]}
        self.arrays = OnAccess(keys, lambda name: self._described(keys[name]))

    def text(self, key: str) -> bytearray | None:
        """Return a scalar of text, None if there is none of this name."""
        if key.encode() not in self._table:
            return None
        entry = self._entry(key.encode())
        if entry.kind != _STRING or entry.shape:
            return None
        content = self._bytes(key, entry)
        # A length, its checksum, and the bytes; the entry's checksum has the length as 4 bytes.
        try:
            length, at = varint(content, 0)
        except IndexError:
            length = at = 0
        if length != len(content) - at - 4:
            raise WeightsError(f"{shown(key)} declares {length} bytes: expected all of its own")
        covered = (length % 2**32).to_bytes(4, "little") + content[at:]
        if masked_crc32c(covered) != entry.checksum:
            raise _other_checksum(key)
        return content[at + 4 :]

    def _entry(self, key: bytes) -> _Entry:
        return _parsed(key, self._table[key])

    def _described(self, key: bytes) -> Unread:
        entry, name = self._entry(key), key.decode("utf-8", "backslashreplace")
        dtype = _DTYPES.get(entry.kind)
        kind = f"number {entry.kind} of TensorFlow" if dtype is None else dtype.name
        is_read = kind in FLOATS or kind.startswith("int")
        return Unread(entry.shape, kind, (lambda: self._read(key, name)) if is_read else None)

    def _read(self, key: bytes, name: str) -> NDArray[Any]:
        entry = self._entry(key)
        if not entry.slices:
            return self._values(name, entry, entry.shape)
        dtype = _DTYPES[entry.kind]
        self._spend(name, bytes_of(shown(name), entry.shape, dtype.itemsize + 1))
        whole = np.empty(entry.shape, dtype)
        covered = np.zeros(entry.shape, bool)
        for cut in entry.slices:
            own = _key_of_slice(key, cut)
            piece = self._entry(own) if own in self._table else None
            place = _place(name, cut, entry.shape)
            shape = tuple(axis.stop - axis.start for axis in place)
            if piece is None or piece.slices or (piece.kind, piece.shape) != (entry.kind, shape):
                raise WeightsError(f"{shown(name)} lacks the slice of shape {shape}: expected it")
            whole[place] = self._values(name, piece, shape)
            if covered[place].any():
                raise WeightsError(f"{shown(name)} has slices that overlap: expected each once")
            covered[place] = True
        if not covered.all():
            raise WeightsError(f"{shown(name)} has slices for a part of it: expected all")
        return whole

    def _values(self, name: str, entry: _Entry, shape: tuple[int, ...]) -> NDArray[Any]:
        dtype = _DTYPES[entry.kind]
        check_held(shown(name), shape, dtype, entry.size, may_be_empty=True)
        content = self._bytes(name, entry)
        if masked_crc32c(content) != entry.checksum:
            raise _other_checksum(name)
        bits = np.frombuffer(content, f"<u{dtype.itemsize}")
        return bits.astype(f"=u{dtype.itemsize}", copy=False).view(dtype).reshape(shape)

    def _spend(self, name: str, size: int) -> None:
        """Count the bytes of a variable, once however often it is read."""
        if name not in self._counted:
            self._budget.spend(size)
            self._counted.add(name)

    def _bytes(self, name: str, entry: _Entry) -> bytearray:
        if entry.shard >= self._shard_count:
            raise WeightsError(f"{shown(name)} is in shard {entry.shard} of {self._shard_count}")
        path = Path(f"{self._prefix}.data-{entry.shard:05d}-of-{self._shard_count:05d}")
        with open_beside(path) as file:
            size = os.fstat(file.fileno()).st_size
            if entry.shard not in self._sizes:
                self._sizes[entry.shard] = size
                self._budget.file_size += size
            if entry.offset + entry.size > size:
                raise WeightsError(
                    f"{shown(name)} has bytes {entry.offset} to {entry.offset + entry.size} of "
                    f"{path.name}: expected them in its {size}"
                )
            self._spend(name, entry.size)
            content = bytearray(entry.size)
            file.seek(entry.offset)
            fill(file, memoryview(content))
        return content


def read_index(path: Path) -> Bundle:
    """Return the checkpoint with an index."""
    return Bundle(path, read_beside(path, LARGEST))


def _parsed(key: bytes, content: memoryview) -> _Entry:
    held = Message(content, shown(key))
    shape = held.message(2)
    dims = tuple(dim.number(1) for dim in shape.messages(2))
    if shape.number(3) or len(dims) > MAX_AXES:
        raise WeightsError(
            f"{shown(key)} has {len(dims)} or unknown axes: expected at most {MAX_AXES}"
        )
    slices = tuple(
        tuple((axis.number(1), axis.number(2) if axis.has(2) else None) for axis in cut.messages(1))
        for cut in held.messages(7)
    )
    kind, shard, offset, size, checksum = (held.number(field) for field in (1, 3, 4, 5, 6))
    return _Entry(kind, dims, shard, offset, size, checksum, slices)


def _place(
    name: str, cut: tuple[tuple[int, int | None], ...], shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """Return a slice as indices; raise WeightsError unless it is in an array of the shape."""
    if len(cut) != len(shape):
        raise WeightsError(f"{shown(name)} has a slice of {len(cut)} axes: expected {len(shape)}")
    place = []
    for (begin, length), size in zip(cut, shape, strict=True):
        end = begin + (size if length is None else length)
        if end > size:
            raise WeightsError(f"{shown(name)} has a slice {begin} to {end}: expected it in {size}")
        place.append(slice(begin, end))
    return tuple(place)


def _key_of_slice(name: bytes, cut: tuple[tuple[int, int | None], ...]) -> bytes:
    """Return the key of a slice: ``OrderedCode`` of 0, the name, the axes, begins and lengths."""
    escaped = name.replace(b"\0", b"\0\xff").replace(b"\xff", b"\xff\0")
    key = b"\0" + escaped + b"\0\1" + _increasing(len(cut))
    for begin, length in cut:
        key += _signed(begin) + _signed(-1 if length is None else length)
    return key


def _increasing(number: int) -> bytes:
    held = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([len(held)]) + held


def _signed(number: int) -> bytes:
    """Return a signed number of ``OrderedCode``: as many leading bits as bytes are inverted."""
    length = (~number if number < 0 else number).bit_length() // 7 + 1
    if length > 7:
        raise WeightsError(f"a slice has the number {number}: expected an index of an array")
    bits = number % (1 << 8 * length) ^ ((1 << length) - 1) << 7 * length
    return bits.to_bytes(length, "big")


def _other_checksum(name: str) -> WeightsError:
    return WeightsError(f"{shown(name)} has another checksum: expected that of its bytes")
