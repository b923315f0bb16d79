"""ONNX models: their GRU nodes as nets, and nets as models."""

from pathlib import Path
from typing import Any

from jaxgru.net import Net
from jaxgru.optional import need
from jaxgru.weights.contract import Look, Source
from jaxgru.weights.errors import WeightsError, first_line
from jaxgru.weights.formats.onnx.models import gather
from jaxgru.weights.formats.onnx.wire import begins_model, check_fields
from jaxgru.weights.formats.onnx.writing import Interface, to_model
from jaxgru.weights.results import Gathered

# The library that parses refuses more.
_LARGEST = 2**31 - 1


def recognises(look: Look) -> bool:
    """Tell whether a file is an ONNX model."""
    return begins_model(look.head)


def read(source: Source) -> Gathered:
    """Return every GRU of an ONNX model, by the names of their nodes.

    A model that jaxgru wrote has the structure of the net in its metadata, and is one net.

    Raises:
        WeightsError: the model is damaged, contradicts itself, or has no GRU node.
        ImportError: onnx is not installed.
    """
    onnx = need("onnx", "onnx", "reading ONNX models")
    if source.size > _LARGEST:
        raise WeightsError(f"it has {source.size} bytes: expected at most {_LARGEST} in a model")
    return gather(_parsed(onnx, source), source.size, source.assume, source.data_folder)


def write(net: Net, path: Path) -> None:
    """Write a net, given as NumPy arrays, as an ONNX model with the usual inputs and outputs."""
    path.write_bytes(to_model(net, Interface()).SerializeToString())


def _parsed(onnx: Any, source: Source) -> Any:
    content = source.file.read(source.size)
    check_fields(content, onnx.ModelProto.DESCRIPTOR)
    decode_error = need("google.protobuf.message", "onnx", "reading ONNX models").DecodeError
    try:
        return onnx.ModelProto.FromString(content)
    except decode_error as error:
        raise WeightsError(f"the model is damaged ({first_line(error)})") from error
