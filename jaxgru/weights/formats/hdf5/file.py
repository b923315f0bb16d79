"""An open HDF5 file: its groups, datasets and attributes by path."""

import dataclasses
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.attributes import Attribute, find_attributes, read_texts
from jaxgru.weights.formats.hdf5.blocks import Blocks
from jaxgru.weights.formats.hdf5.datasets import check_size, is_dataset, read_dataset, shape_of
from jaxgru.weights.formats.hdf5.groups import is_group, members
from jaxgru.weights.formats.hdf5.headers import Message, find_root, read_header
from jaxgru.weights.formats.hdf5.heaps import Heaps

_DEEPEST = 32


class Hdf5:
    """The groups, datasets and attributes of an open HDF5 file.

    A path is the names from the root on, with ``/`` between them; ``""`` is the root.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._blocks = Blocks(file, size)
        self._heaps = Heaps(self._blocks)
        self._attributes: dict[str, dict[str, Attribute]] = {}  # of the objects asked
        self._objects = _find_objects(self._blocks, find_root(self._blocks, size))

    def groups(self, path: str = "") -> tuple[str, ...]:
        """Return the names of the groups directly in a group, in the file's order."""
        return tuple(self._objects[path].groups) if path in self._objects else ()

    def arrays(self, path: str = "") -> tuple[str, ...]:
        """Return the names of the datasets directly in a group, in the file's order."""
        return tuple(self._objects[path].arrays) if path in self._objects else ()

    def has_group(self, path: str) -> bool:
        """Return whether there is a group at a path."""
        return path in self._objects and self._objects[path].is_group

    def has_array(self, path: str) -> bool:
        """Return whether there is a dataset at a path."""
        return path in self._objects and self._objects[path].is_array

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape that a dataset declares."""
        return shape_of(self._dataset(path), shown(path))

    def read(self, path: str) -> NDArray[Any]:
        """Return the numbers of a dataset."""
        messages = self._dataset(path)
        # HDF5 has no bfloat16: Keras writes opaque values, and the type as an attribute.
        is_bfloat16 = self.text(path, "dtype") == "bfloat16"
        opaque = np.dtype(ml_dtypes.bfloat16) if is_bfloat16 else None
        return read_dataset(self._blocks, messages, shown(path), opaque)

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

        Keras cuts a list too long for one attribute in pieces: ``name0``, ``name1``, ... They are
        put together.
        """
        texts = self._attribute(path, attribute)
        if texts is not None:
            return texts
        pieces: list[tuple[str, ...]] = []
        while (piece := self._attribute(path, f"{attribute}{len(pieces)}")) is not None:
            pieces.append(piece)
        return tuple(text for piece in pieces for text in piece) if pieces else None

    def _attribute(self, path: str, name: str) -> tuple[str, ...] | None:
        if path not in self._objects:
            return None
        if path not in self._attributes:
            self._attributes[path] = find_attributes(
                self._blocks, self._objects[path].header, shown(path)
            )
        attribute = self._attributes[path].get(name)
        if attribute is None:
            return None
        where = f"the attribute {name} of {shown(path)}"
        return read_texts(self._blocks, self._heaps, attribute, where)

    def _dataset(self, path: str) -> list[Message]:
        if not self.has_array(path):
            raise WeightsError(f"{shown(path)} is missing: expected an array there")
        return self._objects[path].header


@dataclasses.dataclass
class _Object:
    """A group, a dataset, or neither, such as a named type."""

    header: list[Message]
    is_group: bool
    is_array: bool
    groups: list[str] = dataclasses.field(default_factory=list)  # names of members
    arrays: list[str] = dataclasses.field(default_factory=list)


def _find_objects(blocks: Blocks, root: int) -> dict[str, _Object]:
    """Return every object of a file by its path."""
    objects = {"": _read(blocks, root, "")}
    if not objects[""].is_group:
        raise WeightsError(f"{shown('')} is no group: expected one")
    seen = {root}
    pending = [("", 0)]
    while pending:
        path, depth = pending.pop()
        group = objects[path]
        for name, address in members(blocks, group.header, shown(path)):
            inner = f"{path}/{name}" if path else name
            # Long paths in great number are more than the file itself has.
            blocks.spend(len(inner))
            if inner in objects:
                raise WeightsError(f"{shown(inner)} is there twice: expected it once")
            if address in seen:
                raise WeightsError(
                    f"{shown(inner)} is linked twice, from elsewhere too: expected one way to it"
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
    """Return a path for a message: one line, and not too long a one."""
    text = f"/{path}"
    if len(text) > 120:
        text = f"...{text[-120:]}"
    return text if text.isprintable() else ascii(text)


def _read(blocks: Blocks, address: int, path: str) -> _Object:
    header = read_header(blocks, address, shown(path))
    is_array = is_dataset(header) and not is_group(header)
    if is_array:
        check_size(blocks, header, shown(path))
    return _Object(header, is_group(header), is_array)
