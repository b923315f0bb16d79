"""An open HDF5 file: what is in it, by its path."""

from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.attributes import Attribute, find_attributes, read_texts
from jaxgru.weights.formats.hdf5.blocks import Blocks
from jaxgru.weights.formats.hdf5.datasets import read_dataset, shape_of
from jaxgru.weights.formats.hdf5.headers import Message
from jaxgru.weights.formats.hdf5.heaps import Heaps
from jaxgru.weights.formats.hdf5.objects import find_objects, shown
from jaxgru.weights.formats.hdf5.superblock import find_root


class Hdf5:
    """The groups, datasets and attributes of an open HDF5 file.

    A path is the names from the root on, with ``/`` between them; ``""`` is the root.

    Args:
        file: the open file.
        size: its size in bytes.

    Raises:
        WeightsError: the file is no such file, is damaged, or has links that are refused.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._blocks = Blocks(file, size)
        self._heaps = Heaps(self._blocks)
        self._attributes: dict[str, dict[str, Attribute]] = {}  # of the objects asked
        self._objects = find_objects(self._blocks, find_root(self._blocks, size))

    def groups(self, path: str = "") -> tuple[str, ...]:
        """Return the names of the groups directly in a group, in the file's order."""
        return tuple(self._objects[path].groups) if path in self._objects else ()

    def arrays(self, path: str = "") -> tuple[str, ...]:
        """Return the names of the datasets directly in a group, in the file's order."""
        return tuple(self._objects[path].arrays) if path in self._objects else ()

    def has_group(self, path: str) -> bool:
        """Tell whether there is a group at a path."""
        return path in self._objects and self._objects[path].is_group

    def has_array(self, path: str) -> bool:
        """Tell whether there is a dataset at a path."""
        return path in self._objects and self._objects[path].is_array

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape that a dataset declares.

        Raises:
            WeightsError: there is no dataset there, or it is damaged.
        """
        return shape_of(self._dataset(path), shown(path))

    def read(self, path: str) -> NDArray[Any]:
        """Return the numbers of a dataset.

        Raises:
            WeightsError: there is no dataset there; it holds no floating-point numbers; they are
                not in this file, damaged, or more than they may be.
        """
        messages = self._dataset(path)
        # HDF5 has no bfloat16: Keras writes it as opaque values and says so beside them.
        says_bfloat16 = self.text(path, "dtype") == "bfloat16"
        opaque = np.dtype(ml_dtypes.bfloat16) if says_bfloat16 else None
        return read_dataset(self._blocks, messages, shown(path), opaque)

    def text(self, path: str, attribute: str) -> str | None:
        """Return the text of an attribute, None if there is no such attribute.

        Raises:
            WeightsError: it holds something else, or is damaged.
        """
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

        Raises:
            WeightsError: it holds something else, or is damaged.
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
            self._attributes[path] = find_attributes(self._objects[path].header, shown(path))
        attribute = self._attributes[path].get(name)
        if attribute is None:
            return None
        where = f"the attribute {name} of {shown(path)}"
        return read_texts(self._blocks, self._heaps, attribute, where)

    def _dataset(self, path: str) -> list[Message]:
        if not self.has_array(path):
            raise WeightsError(f"{shown(path)} is missing: expected an array there")
        return self._objects[path].header
