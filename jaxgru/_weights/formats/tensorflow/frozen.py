"""Frozen graphs of TensorFlow: a ``GraphDef`` whose variables are constants, by their names.

The message is ``1 node {1 name, 2 op, 5 attr {1 key, 2 value}}, 2 library {1 function {3 node}}``;
of a constant, the value of ``value`` is ``8 tensor {1 dtype, 2 shape {2 dim {1 size}}, 4 bytes}``,
or its numbers are in a field for their type: if there are fewer than the shape has, the last is
that of all others.

A graph has no configuration. Its activations are operations, so they are only assumed to be the
usual ones where the graph has no others.

Source: ``graph.proto``, ``node_def.proto``, ``attr_value.proto`` and ``tensor.proto`` in
``tensorflow/core/framework/``.
"""

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.contract import IN_TENSORFLOW, FileProbe, Source, Stored
from jaxgru._weights.dtypes import Arrays, Unread
from jaxgru._weights.errors import WeightsError, each_once, plain
from jaxgru._weights.formats.protobuf import LENGTH, Message, next_field, varint
from jaxgru._weights.libraries.finding import find
from jaxgru._weights.limits import Budget, bytes_of, check_held
from jaxgru._weights.results import GRUsByName

# The types of weights, each with the field of its numbers; 16-bit ones are stored as varints.
_HALVES = 13
_DTYPES: dict[int, tuple[np.dtype[Any], int]] = {
    1: (np.dtype(np.float32), 5),
    2: (np.dtype(np.float64), 6),
    14: (np.dtype(ml_dtypes.bfloat16), _HALVES),
    19: (np.dtype(np.float16), _HALVES),
}
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
_USUAL = {"Sigmoid", "Tanh"}
_ACTIVATIONS = _USUAL | {
    *("ClipByValue", "Elu", "Erf", "LeakyRelu", "Maximum", "Minimum", "Relu", "Relu6", "Selu"),
    *("Softplus", "Softsign"),
}


def recognizes(look: FileProbe) -> bool:
    """Return whether a file begins with a node that has a name and an operation."""
    try:
        number, wire_type, _, at = next_field(look.head, 0)
        name, op = _text(look.head, at, 1), b""
        op = _text(look.head, at + 2 + len(name), 2)  # of names below 128 bytes
    except (IndexError, WeightsError):
        return False
    return (number, wire_type) == (1, LENGTH) and name.isascii() and op[:1].isupper()


def read(source: Source) -> Stored:
    """Return the constants of a graph that are floating-point numbers, by the names of nodes."""
    graph = Message(source.file.read(), "the graph")
    functions = (one for library in graph.messages(2) for one in library.messages(1))
    budget = Budget(source.size)
    constants: list[tuple[str, Unread]] = []
    ops: set[str] = set()
    for node in graph.messages(1):
        ops |= _ops(node)
        if node.text(2) == "Const":
            tensor = _attributes(node)["value"].message(8)
            if tensor.number(1) in _DTYPES:
                constants.append((node.text(1), _array(node.text(1), tensor, budget)))
    for node in itertools.chain.from_iterable(one.messages(3) for one in functions):
        ops |= _ops(node)
    arrays = each_once(constants, "the node ")
    if not any(array.shape for array in arrays.values()) and ops.intersection(_VARIABLES):
        raise WeightsError(
            "it is a graph of TensorFlow whose variables are in other files: expected one with "
            "constants; the checkpoint of the variables is read, by its .index file"
        )
    find_in = functools.partial(_find, ops.intersection(_ACTIVATIONS))
    return Stored(arrays, find_in, instead=IN_TENSORFLOW)


def _find(ops: set[str], arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    gathered = find(arrays, assume)
    if ops == _USUAL or assume.keys() >= {"activation", "recurrent_activation"}:
        return gathered
    error = WeightsError(
        f"its activations are operations of the graph, which has {', '.join(sorted(ops)) or 'none'}"
        ": expected Sigmoid and Tanh alone, or assume= with activation and recurrent_activation"
    )
    return dict.fromkeys(gathered, error)


def _text(content: bytes, at: int, field: int) -> bytes:
    """Return the text that is a field at a place of the beginning of a message."""
    number, wire_type, size, at = next_field(content, at)
    is_there = (number, wire_type) == (field, LENGTH) and 0 < size < 128
    return content[at : at + size] if is_there else b"\xff"


def _ops(node: Message) -> set[str]:
    """Return the operation of a node if it is of variables, or an activation of floats."""
    op = node.text(2)
    is_of_floats = op in _ACTIVATIONS and _attributes(node)["T"].number(6) in _DTYPES
    return {op} if op in _VARIABLES or is_of_floats else set()


def _attributes(node: Message) -> dict[str, Message]:
    absent = {"T": Message(b"", "T"), "value": Message(b"", "value")}
    return absent | {entry.text(1): entry.message(2) for entry in node.messages(5)}


def _array(name: str, tensor: Message, budget: Budget) -> Unread:
    """Return the array of a constant, which is read on request."""
    dtype, field = _DTYPES[tensor.number(1)]
    shape = tuple(dim.number(1) for dim in tensor.message(2).messages(2))

    def numbers() -> NDArray[Any]:
        size = bytes_of(plain(name), shape, dtype.itemsize)
        content = b"".join(held for _, held in tensor.values(4))
        if content:
            check_held(plain(name), shape, dtype, len(content))
        else:
            held = tensor.values(field)
            content = b"".join(_halves(*one) if field == _HALVES else one[1] for one in held)
        count, rest = divmod(len(content), dtype.itemsize)
        if rest or len(content) > size:
            raise WeightsError(
                f"{plain(name)} has {len(content)} bytes of numbers: expected at most {size}"
            )
        budget.spend(size)
        array = np.zeros(math.prod(shape), dtype)
        array[:count] = np.frombuffer(content, f"<u{dtype.itemsize}").view(dtype)
        array[count:] = array[count - 1] if count else 0
        return array.reshape(shape)

    return Unread(shape, dtype.name, numbers)


def _halves(value: int, packed: memoryview) -> bytes:
    """Return numbers of 16 bits that are one varint, or many of them."""
    values, at = [] if packed else [value], 0
    while at < len(packed):
        try:
            value, at = varint(packed, at)
        except IndexError:
            raise WeightsError("a number in it is cut short: expected all of it") from None
        values.append(value)
    if any(value > 0xFFFF for value in values):
        raise WeightsError("a number in it has more than 16 bits: expected at most 16")
    return np.array(values, "<u2").tobytes()
