"""Safetensors files: of jaxgru, with the structure of the net in the header, and of libraries.

The text in the header (``__metadata__``) of files by jaxgru is::

    format   "jaxgru"
    version  "1"
    net      JSON, see ``jaxgru._weights.net_json``

The arrays are those of the net, in any floating-point type of the format. A file without this text
is read by the names of its arrays (``jaxgru._weights.libraries``), such as those of PyTorch.

A file is eight bytes with the length of the header, the header, and the bytes of the arrays. The
header is JSON: for each array the dtype, the shape, and the begin and end of its bytes. jaxgru
parses it without ``safetensors.safe_open``, which, in version 0.8, returns the last of two arrays
with the same name, ignores unknown keys, rejects a file with an array of an unknown type, and does
not return float8 as NumPy.

Source: the format's description in the README of huggingface/safetensors.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from jaxgru._net import Net
from jaxgru._optional import need
from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.dtypes import Arrays, Unread, from_bits
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.libraries.torch import state_of
from jaxgru._weights.limits import check_held, fill
from jaxgru._weights.net_json import describe, rebuild
from jaxgru._weights.results import UNNAMED, GRUsByName, LoadedGRU

_FORMAT = "jaxgru"
_VERSION = 1
_MAX_HEADER = 100_000_000  # the format's own limit
# The largest number of values in a header, counted by their separators; an array has ten.
_MAX_SIGNS = 1_000_000
_METADATA = "__metadata__"
_ENTRY = {"dtype", "shape", "data_offsets"}
_SIZES = (8, 16, 32, 64)
# By the format's names; of these, weights are read.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
_READ = frozenset(dtype.name for dtype in _DTYPES.values())
_NUMBERS = _DTYPES | {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind}{size}": np.dtype(f"{kind.lower()}{size // 8}") for kind in "IU" for size in _SIZES},
}


def recognizes(look: FileProbe) -> bool:
    """Return whether a file begins with the length of a header and a JSON object."""
    return look.head[8:9] == b"{" and _header_length(look.head) <= _MAX_HEADER


def read(source: Source) -> Stored:
    """Return the arrays of an open safetensors file."""
    metadata, arrays, places = _opened(source)

    def rewrite(changed: Mapping[str, NDArray[Any]], path: Path) -> None:
        source.file.seek(0)
        content = bytearray(source.file.read())
        for name, array in changed.items():
            content[places[name]] = np.ascontiguousarray(array).tobytes()
        path.write_bytes(content)

    is_own = metadata.get("format") == _FORMAT
    find_own = functools.partial(_find_net, metadata)
    stored = Stored(arrays, rewrite=rewrite)
    return stored._replace(find=find_own) if is_own else stored


def _find_net(metadata: Mapping[str, str], arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return the net of a file by jaxgru."""
    version = metadata.get("version", "")
    if version != str(_VERSION):
        raise WeightsError(
            f"it is of version {shown(version)} of jaxgru's format: expected '{_VERSION}'; a newer "
            "jaxgru may read it"
        )
    assumed = assume.keys() - getattr(assume, "override", {}).keys()
    if assumed:
        raise WeightsError(
            f"assume has {', '.join(sorted(assumed))}: expected nothing, because the file has all "
            "fields"
        )
    data = parse_json(metadata.get("net", ""), "the net")
    for name, array in arrays.items():
        if str(array.dtype) not in _READ or 0 in array.shape:
            raise WeightsError(
                f"{shown(name)} has dtype {array.dtype} and shape {array.shape[:8]}: expected "
                "floating-point numbers, one at least"
            )
    return {UNNAMED: LoadedGRU(rebuild(data, arrays))}


def write(net: Net, path: Path) -> None:
    """Write any net, given as NumPy arrays."""
    data, arrays = describe(net)
    for name, array in arrays.items():
        if array.dtype not in _DTYPES.values():
            raise WeightsError(
                f"{name} has dtype {array.dtype}: expected one of "
                f"{', '.join(dtype.name for dtype in _DTYPES.values())}"
            )
    _save(arrays, path, {"format": _FORMAT, "version": str(_VERSION), "net": json.dumps(data)})


def write_torch(net: Net, path: Path) -> None:
    """Write a net, given as NumPy arrays, by the names of ``torch.nn.GRU``'s state dict."""
    # Other programs require this text in files of PyTorch.
    _save(state_of(net), path, {"format": "pt"})


def _save(arrays: Mapping[str, NDArray[Any]], path: Path, text: dict[str, str]) -> None:
    save_file = need("safetensors.numpy", "safetensors", "writing safetensors").save_file
    # The library writes the memory of an array without regard to strides.
    save_file({n: np.ascontiguousarray(a) for n, a in arrays.items()}, path, text)


class _Entry(NamedTuple):
    """An array in a header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int  # from the end of the header, in bytes
    end: int


def _opened(source: Source) -> tuple[dict[str, str], dict[str, Unread], dict[str, slice]]:
    """Return the text in a file's header, its arrays in the header's order, and their bytes."""
    length = _header_length(source.file.read(8))
    start = 8 + length
    if start > source.size:
        raise WeightsError(
            f"the header declares {length} bytes: expected fewer in a file of {source.size}"
        )
    header = _parsed(source.file.read(length))
    metadata = header.pop(_METADATA, None)
    metadata = {} if metadata is None else metadata  # null, as MLX writes it
    if not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
        raise WeightsError(f"{_METADATA} in the header is damaged: expected text by names")
    entries = {name: _entry(name, described) for name, described in header.items()}
    _check_places(entries, source.size - start)

    def read(entry: _Entry) -> NDArray[Any]:
        content = np.empty(entry.end - entry.begin, np.uint8)
        source.file.seek(start + entry.begin)
        fill(source.file, content.data)
        return from_bits(content.data, _NUMBERS[entry.dtype]).reshape(entry.shape)

    arrays = {}
    for name, entry in entries.items():
        if entry.dtype in _NUMBERS:
            dtype = _NUMBERS[entry.dtype].name
            arrays[name] = Unread(entry.shape, dtype, functools.partial(read, entry))
        else:
            arrays[name] = Unread(entry.shape, shown(entry.dtype))
    places = {name: slice(start + e.begin, start + e.end) for name, e in entries.items()}
    return metadata, arrays, places


def _header_length(head: bytes) -> int:
    return int.from_bytes(head[:8], "little")


def _parsed(header: bytes) -> dict[str, Any]:
    # The memory of parsed JSON depends on the number of values.
    if sum(map(header.count, (b",", b"[", b"{"))) > _MAX_SIGNS:
        raise WeightsError(f"the header has over {_MAX_SIGNS} values: expected fewer in weights")
    # An object, as the file was recognized by its opening brace.
    parsed: dict[str, Any] = parse_json(header, "the header")
    return parsed


def _entry(name: str, described: Any) -> _Entry:
    match described:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]} if (
            described.keys() == _ENTRY
            and all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        ):
            entry = _Entry(dtype, tuple(shape), begin, end)
        case _:
            raise WeightsError(
                f"{shown(name)} has an invalid description: expected dtype, shape and data_offsets"
            )
    if dtype in _NUMBERS:
        check_held(shown(name), shape, _NUMBERS[dtype], end - begin, may_be_empty=True)
    return entry


def _check_places(entries: dict[str, _Entry], size: int) -> None:
    """Raise WeightsError unless the arrays are contiguous and fill the file."""
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
