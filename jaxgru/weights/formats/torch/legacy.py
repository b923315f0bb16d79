"""The stream that ``torch.save`` wrote before PyTorch 1.6, and still writes when asked to.

Five pickles, one after the other: a number that marks the format, its version, the machine it was
written on, the whole, and a list of storages. Then these, each as its count, 8 bytes, and its
numbers, little-endian.

Source: ``torch/serialization.py``.
"""

import io
from typing import Any

from jaxgru.weights.contract import Source
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.torch.objects import ITEM_SIZES, Storage
from jaxgru.weights.formats.torch.pickles import Pickled, read_pickle
from jaxgru.weights.formats.torch.tensors import TensorArrays, named_tensors
from jaxgru.weights.libraries import find
from jaxgru.weights.results import Gathered

MARK = 0x1950A86A20F9469CFC6C
VERSION = 1001
# The first pickle: PROTO 2, LONG1 of 10 bytes, STOP.
BEGINNING = b"\x80\x02\x8a\x0a" + MARK.to_bytes(10, "little") + b"."


def read(source: Source) -> Gathered:
    """Return every GRU in a stream, see ``Format.read``."""
    content = source.file.read()
    stream = io.BytesIO(content)

    def pickle() -> Pickled:
        return read_pickle(stream, len(content) - stream.tell())

    if pickle().root != MARK or pickle().root != VERSION:
        raise WeightsError(
            "it is a pickle of another format: expected the mark and version that torch.save "
            "begins with; nothing in a file is run"
        )
    pickle()  # of the machine: its byte order is that of numbers in memory, not of those here
    root, storages = pickle()
    starts = _starts(pickle().root, storages, stream)

    def storage(stored: Storage, item_size: int) -> memoryview:
        if stored.key not in starts:
            raise WeightsError(f"storage {stored.key[:40]!a} is not there: expected it at the end")
        start = starts[stored.key]
        return memoryview(content)[start : start + stored.length * item_size]

    return find(TensorArrays(named_tensors(root, source.size), storage), source.assume)


def _starts(keys: Any, storages: dict[str, Storage], stream: io.BytesIO) -> dict[str, int]:
    """Return where the numbers of each storage begin."""
    if type(keys) is not list or not all(isinstance(key, str) and key in storages for key in keys):
        raise WeightsError("its last pickle is not a list of the storages: expected one")
    starts: dict[str, int] = {}
    end = len(stream.getvalue())
    for key in keys:
        stored = storages[key]
        if stored.kind not in ITEM_SIZES:
            raise WeightsError(f"a storage has the unknown type {stored.kind!r}: expected another")
        length = int.from_bytes(stream.read(8), "little")
        starts[key] = stream.tell()
        after = starts[key] + length * ITEM_SIZES[stored.kind]
        if length != stored.length or after > end:
            raise WeightsError(
                f"storage {key[:40]!a} has {length} numbers of type {stored.kind}, or is cut "
                f"short: expected {stored.length}, as the pickle says"
            )
        stream.seek(after)
    return starts
