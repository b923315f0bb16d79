"""Reading the arrays of a safetensors file, its header checked first.

The file is eight bytes that say how long the header is, the header, and the arrays' bytes. The
header is JSON: for each array its dtype, its shape, and where its bytes begin and end; beside them
text of the writer's own. Reading it so takes no library, gives the arrays in the file's order, and
only those that are asked for.

Source: the format's description in the README of huggingface/safetensors.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.contract import Source
from jaxgru.weights.dtypes import Unread
from jaxgru.weights.errors import WeightsError, first_line, shown
from jaxgru.weights.formats.zip import fill
from jaxgru.weights.limits import bytes_of

# The format's own limit.
MAX_HEADER = 100_000_000
# How many signs a header may have that go with a value: an array's entry has ten.
_MAX_SIGNS = 1_000_000
_METADATA = "__metadata__"
_ENTRY = {"dtype", "shape", "data_offsets"}
# By the format's names; the floating-point numbers among them are read.
DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}


class Entry(NamedTuple):
    """What a header says of one array."""

    dtype: str
    shape: tuple[int, ...]
    begin: int  # from the end of the header, in bytes
    end: int


class SafetensorsFile(Mapping[str, "NDArray[Any] | Unread"]):
    """The arrays of an open file by their names, each read when it is asked for."""

    def __init__(self, source: Source) -> None:
        """Read and check the header.

        Raises:
            WeightsError: it is damaged, has a name twice, or says what cannot be true of the file.
        """
        length = header_length(source.file.read(8))
        start = 8 + length
        if start > source.size:
            raise WeightsError(
                f"the header declares {length} bytes: expected fewer in a file of {source.size}"
            )
        header = _parsed(source.file.read(length))
        self.metadata = _metadata(header.pop(_METADATA, {}))
        self._entries = {name: _entry(name, described) for name, described in header.items()}
        _check_places(self._entries, source.size - start)
        self._file: BinaryIO = source.file
        self._start = start

    def __getitem__(self, name: str) -> NDArray[Any] | Unread:
        """Read an array. One of other than floating-point numbers stays unread."""
        entry = self._entries[name]
        if entry.dtype not in DTYPES:
            return Unread(entry.shape, shown(entry.dtype))
        content = np.empty(entry.end - entry.begin, np.uint8)
        self._file.seek(self._start + entry.begin)
        fill(self._file, content.data)
        return content.view(DTYPES[entry.dtype]).reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        """Give the names in the header's order."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return how many arrays there are."""
        return len(self._entries)


def header_length(head: bytes) -> int:
    """Return how long a file that begins so says that its header is."""
    return int.from_bytes(head[:8], "little")


def _parsed(header: bytes) -> dict[str, Any]:
    # What JSON becomes in memory depends on its values, not on its bytes.
    if sum(map(header.count, (b",", b"[", b"{"))) > _MAX_SIGNS:
        raise WeightsError(f"the header has over {_MAX_SIGNS} values: expected fewer in weights")
    try:
        parsed = json.loads(header.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"the header is damaged ({first_line(error)}): expected JSON") from error
    if not isinstance(parsed, dict):
        raise WeightsError(f"the header is a {type(parsed).__name__}: expected a JSON object")
    return parsed


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise WeightsError(f"{shown(name)} is there twice in the header: expected once")
        found[name] = value
    return found


def _metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError(f"{_METADATA} in the header is damaged: expected text by names")
    return metadata


def _entry(name: str, described: Any) -> Entry:
    match described:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]} if (
            described.keys() == _ENTRY
            and all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        ):
            entry = Entry(dtype, tuple(shape), begin, end)
        case _:
            raise WeightsError(
                f"{shown(name)} is described wrongly: expected dtype, shape and data_offsets"
            )
    if dtype in DTYPES:
        # An empty array takes nothing, however large its other sizes are.
        itemsize = DTYPES[dtype].itemsize
        declared = 0 if 0 in shape else bytes_of(shown(name), shape, itemsize)
        if declared != end - begin:
            raise WeightsError(
                f"{shown(name)} declares shape {entry.shape[:8]} of {dtype}, {declared} bytes: "
                f"expected the {end - begin} bytes that it has"
            )
    return entry


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _check_places(entries: dict[str, Entry], size: int) -> None:
    """Raise WeightsError unless the arrays lie one behind the other and fill the file."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != end or entry.end < entry.begin:
            raise WeightsError(
                f"{shown(name)} goes from byte {entry.begin} to {entry.end}: expected it to begin "
                f"at {end}, where the array before it ends"
            )
        end = entry.end
    if end != size:
        raise WeightsError(f"the arrays end at byte {end}: expected {size}, the end of the file")
