"""Pickles in a row: what ``torch.save`` wrote before PyTorch 1.6, and what ``pickle.dump`` writes.

PyTorch's are five, one after the other: a number that marks the format, its version, the machine it
was written on, the whole, and a list of storages. Then these, each as its count, 8 bytes, and its
numbers, little-endian. In a plain pickle, a tensor's storage is such a stream in bytes.

Source: ``torch/serialization.py``.
"""

import io
from typing import Any

from jaxgru.weights.contract import Source
from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.formats.torch.objects import (
    ITEM_SIZES,
    JOBLIB,
    Storage,
    read_joblib,
    storage_of,
)
from jaxgru.weights.formats.torch.pickles import Pickles
from jaxgru.weights.formats.torch.tensors import TensorArrays, named_tensors
from jaxgru.weights.libraries import find
from jaxgru.weights.results import Gathered

MARK = 0x1950A86A20F9469CFC6C
VERSION = 1001


def read(source: Source) -> Gathered:
    """Return every GRU in a stream or in one pickle, see ``Format.read``."""
    content = source.file.read()
    pickles = Pickles(len(content), {JOBLIB: read_joblib})

    def embedded(inner: bytes) -> Storage:
        root, contents = _read(pickles, inner)
        storage = storage_of(root)
        return storage._replace(content=_content_of(storage, contents))

    root, contents = _read(pickles, content)
    tensors = named_tensors(root, source.size, embedded)
    arrays = TensorArrays(tensors, lambda storage, _: _content_of(storage, contents))
    return find(arrays, source.assume)


_Contents = dict[str, memoryview]  # of storages, by key


def _read(pickles: Pickles, content: bytes) -> tuple[Any, _Contents]:
    """Return what a pickle or a stream holds, and the numbers of a stream's storages."""
    stream = io.BytesIO(content)
    root = pickles.read(stream)
    if root != MARK:
        return root, {}
    if pickles.read(stream) != VERSION:
        raise WeightsError("it is a stream of another version: expected 1001, as torch.save writes")
    pickles.read(stream)  # of the machine: its byte order is that of memory, not of the file
    root = pickles.read(stream)
    storages = {}
    for stub in pickles.outside:
        reference = stub.arguments[0]
        if type(reference) is tuple and reference[:1] == ("storage",):  # or one to a class
            storage = storage_of(stub)
            storages[storage.key] = storage
    keys = pickles.read(stream)
    if type(keys) is not list or not all(isinstance(key, str) and key in storages for key in keys):
        raise WeightsError("its last pickle is not a list of the storages: expected one")
    contents: _Contents = {}
    for key in keys:
        stored = storages[key]
        if stored.kind not in ITEM_SIZES:
            raise WeightsError(f"a storage has the unknown type {stored.kind!r}: expected another")
        length = int.from_bytes(stream.read(8), "little")
        start, size = stream.tell(), stored.length * ITEM_SIZES[stored.kind]
        if length != stored.length or start + size > len(content):
            raise WeightsError(
                f"storage {shown(key)} has {length} numbers of type {stored.kind}, or is cut "
                f"short: expected {stored.length}, as the pickle has it"
            )
        contents[key] = memoryview(content)[start : start + size]
        stream.seek(start + size)
    return root, contents


def _content_of(storage: Storage, contents: _Contents) -> memoryview:
    if storage.key not in contents:
        raise WeightsError(f"storage {shown(storage.key)} is not there: expected it at the end")
    return contents[storage.key]
