"""The list of formats, and the choice by the content of a file or the name of a new file."""

import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxgru._net import Net
from jaxgru._weights.beside import open_beside, size_beside
from jaxgru._weights.contract import HEAD, FileProbe, Format, Source, Stored
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats import (
    msgpack,
    named_json,
    npz,
    orbax,
    safetensors,
    tensorflowjs,
    unsupported,
)
from jaxgru._weights.formats.keras import archive, legacy
from jaxgru._weights.formats.keras.writing import write_keras, write_weights_h5
from jaxgru._weights.formats.onnx import format as onnx
from jaxgru._weights.formats.tensorflow import frozen
from jaxgru._weights.formats.torch import format as torch
from jaxgru._weights.formats.zip import DAMAGE, MAGIC


def _format(
    name: str, content: str, module: Any, suffix: str = "", write: Any = None, *others: str
) -> Format:
    suffixes = (suffix,) if suffix else ()
    return Format(name, content, module.recognizes, module.read, suffixes, write, others)


# The first that recognizes a file reads it, so formats with an unambiguous signature come first.
FORMATS = (
    _format("torch", "a file of torch.save or a pickle", torch, "", None, ".pt", ".pth"),
    _format("keras", "a .keras file", archive, ".keras", write_keras),
    _format("keras-h5", "an HDF5 file of Keras", legacy, ".weights.h5", write_weights_h5, ".h5"),
    _format("npz", "a .npz file", npz, ".npz", npz.write),
    _format("safetensors", "a safetensors file", safetensors, ".safetensors", safetensors.write),
    # Read by the entry above, like any safetensors file.
    _format("torch-safetensors", "a safetensors file", safetensors, "", safetensors.write_torch),
    _format("onnx", "an ONNX model", onnx, ".onnx", onnx.write),
    _format("tensorflow-graph", "a frozen graph of TensorFlow", frozen),
    _format("tensorflowjs", "the model.json of a layers model of TensorFlow.js", tensorflowjs),
    _format("json", "weights in JSON", named_json),
    _format("msgpack", "a MessagePack file of Flax", msgpack, "", None, ".msgpack"),
)


def find_by_content(source: Source) -> Format:
    """Return the format of an open file, with the file position at the beginning."""
    head = source.file.read(HEAD)
    look = FileProbe(head, _entries(source) if head.startswith(MAGIC) else None, source.size)
    source.file.seek(0)
    for candidate in (*unsupported.FORMATS, *FORMATS):
        if candidate.recognizes(look):
            return candidate
    held = f"it begins with {shown(head[:8])}" if head else "it is empty"
    # Two formats that differ only in writing are read as one.
    readable = _listed(dict.fromkeys(known.content for known in FORMATS))
    raise WeightsError(f"{held}: expected {readable}")


def read_folder(folder: Path) -> tuple[str, Stored]:
    """Return the format of a folder, and its contents."""
    if (model := folder / tensorflowjs.MODEL).is_file():
        with open_beside(model) as file:
            source = Source(file, size_beside(model), folder=folder)
            if (known := find_by_content(source)).name == "tensorflowjs":
                return known.name, known.read(source)
    if not orbax.recognizes(folder):
        raise unsupported.refuse_folder([path.name for path in folder.iterdir()])
    return "orbax", orbax.read(folder)


def find_writer(path: str | os.PathLike[str], name: str | None) -> Callable[[Net, Path], None]:
    """Return the function that writes a file, by the name of the format or the suffix."""
    file_name = Path(path).name.lower()
    for known in FORMATS:
        meant = known.name == name if name is not None else file_name.endswith(known.suffixes)
        if known.write is not None and meant:
            return known.write
    writable = [known for known in FORMATS if known.write is not None]
    if name is not None:
        raise ValueError(
            f"format is {name!r}: expected {_listed(known.name for known in writable)}"
        )
    endings = _listed(suffix for known in writable for suffix in known.suffixes)
    raise WeightsError(f"its suffix is {Path(path).suffix!r}: expected {endings}")


def format_of_suffix(suffix: str) -> str | None:
    """Return the name of the only format with a suffix, or None."""
    for known in FORMATS:
        if suffix in (*known.suffixes, *known.other_suffixes):
            return known.name
    return None


def _entries(source: Source) -> tuple[str, ...] | None:
    source.file.seek(0)
    try:
        with zipfile.ZipFile(source.file) as opened:
            return tuple(opened.namelist())
    except DAMAGE:
        return None  # the reader raises a more precise error


def _listed(names: Iterable[str]) -> str:
    return " or ".join(names)
