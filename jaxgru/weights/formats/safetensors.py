"""Any net in a safetensors file that says itself what it is; and what others name in such files.

The header's text (``__metadata__``) of ours is::

    format   "jaxgru"
    version  "1"
    net      JSON, see ``jaxgru.weights.net_json``

The arrays are those of the net, of any of the format's floating-point types, to the bit. A file
without this text is read by its arrays' names (``jaxgru.weights.libraries``), as PyTorch's are.
"""

import json
from pathlib import Path

import numpy as np

from jaxgru.net import Net
from jaxgru.optional import need
from jaxgru.weights.contract import Look, Source
from jaxgru.weights.dtypes import Unread
from jaxgru.weights.errors import WeightsError, first_line, shown
from jaxgru.weights.formats.safetensors_file import (
    DTYPES,
    MAX_HEADER,
    SafetensorsFile,
    header_length,
)
from jaxgru.weights.libraries import find
from jaxgru.weights.net_json import describe, rebuild
from jaxgru.weights.results import UNNAMED, Found, Gathered

_FORMAT = "jaxgru"
_VERSION = 1


def recognises(look: Look) -> bool:
    """Tell whether a file begins with the length of a header and a JSON object."""
    return look.head[8:9] == b"{" and header_length(look.head) <= MAX_HEADER


def read(source: Source) -> Gathered:
    """Return the net, or the GRUs, in an open safetensors file.

    Raises:
        WeightsError: the file is damaged, holds no GRU, or was written by a newer version.
    """
    file = SafetensorsFile(source)
    if file.metadata.get("format") != _FORMAT:
        return find(file, source.assume)
    version = file.metadata.get("version", "")
    if version != str(_VERSION):
        raise WeightsError(
            f"it is of version {shown(version)} of jaxgru's format: expected '{_VERSION}'; a newer "
            "jaxgru may read it"
        )
    if source.assume:
        raise WeightsError(
            f"assume has {', '.join(source.assume)}: expected nothing, as the file says all of it"
        )
    try:
        data = json.loads(file.metadata.get("net", ""))
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"the net is described wrongly ({first_line(error)}): expected JSON"
        ) from error
    for name, array in file.items():
        if isinstance(array, Unread) or array.size == 0:
            raise WeightsError(
                f"{shown(name)} has dtype {array.dtype} and shape {array.shape[:8]}: expected "
                "floating-point numbers, one at least"
            )
    return {UNNAMED: Found(rebuild(data, file))}


def write(net: Net, path: Path) -> None:
    """Write any net, given as NumPy arrays.

    Raises:
        WeightsError: an array is of a type that safetensors has not.
        ImportError: safetensors is not installed.
    """
    save_file = need("safetensors.numpy", "safetensors", "writing safetensors").save_file
    data, arrays = describe(net)
    for name, array in arrays.items():
        if array.dtype not in DTYPES.values():
            raise WeightsError(
                f"{name} has dtype {array.dtype}: expected one of "
                f"{', '.join(dtype.name for dtype in DTYPES.values())}"
            )
    text = {"format": _FORMAT, "version": str(_VERSION), "net": json.dumps(data)}
    # The library takes an array's memory as it lies.
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, text)
