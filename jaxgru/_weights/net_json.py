"""The conversion of a net to JSON data and named arrays, and back.

Each part of a net is an object with its ``kind`` and its fields, in which arrays are replaced by
their names. The name is the path to the array, such as ``0.forward.kernel`` in a stack whose first
layer has two directions.
"""

import dataclasses
from typing import Any

import jax
from jax.tree_util import keystr, tree_map_with_path

from jaxgru._activations import Activation
from jaxgru._net import Backward, Bidirectional, Net, parts
from jaxgru._params import GRUParams
from jaxgru._weights.dtypes import Arrays, read_now
from jaxgru._weights.errors import WeightsError, first_line, listed, shown

_LAYERS = {kind.__name__: kind for kind in (GRUParams, Bidirectional, Backward)}
_STACKS: dict[str, Any] = {"tuple": tuple, "list": list}
# The types of the fields of a layer; the constructor checks the names of activations. An activation
# with parameters is an object of its name and its parameters.
_FIELDS: dict[str, tuple[type, ...]] = {
    "kernel": (str,),
    "recurrent_kernel": (str,),
    "bias": (str, type(None)),
    "recurrent_bias": (str, type(None)),
    "reset_after": (bool,),
    "activation": (str, Activation),
    "recurrent_activation": (str, Activation),
    "clip": (float, int, type(None)),
    "merge": (str, type(None)),
}
_MAX_DEPTH = 32


def describe(net: Net) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a net as data for JSON, and its arrays by name."""
    named = tree_map_with_path(lambda path, _: keystr(path, simple=True, separator="."), net)
    return to_data(named), dict(zip(jax.tree.leaves(named), jax.tree.leaves(net), strict=True))


def rebuild(data: Any, arrays: Arrays) -> Net:
    """Return the net of such data; raise WeightsError unless the arrays are those of the net."""
    named = from_data(data)
    names = jax.tree.leaves(named)
    if wrong := sorted(set(names).symmetric_difference(arrays)):
        raise WeightsError(
            f"{listed(wrong)} is only in the net or only in the file: expected it in both"
        )
    if len(names) != len(arrays):
        raise WeightsError(
            f"the net has {len(names)} arrays and the file {len(arrays)}: expected each once"
        )
    net: Net = jax.tree.map(lambda name: read_now(arrays[name]), named)
    return net


def to_data(named: Any) -> dict[str, Any]:
    """Return a net with names instead of arrays as data for JSON."""
    kind, nets, _ = parts(named)
    if kind == "stack":  # a named tuple is a tuple
        stack = "list" if type(named) is list else "tuple"
        return {"kind": stack, "layers": [to_data(layer) for layer in nets.values()]}
    fields = {field.name: getattr(named, field.name) for field in dataclasses.fields(named)}
    return {"kind": type(named).__name__} | {
        name: _plain(value) if name in _FIELDS else to_data(value) for name, value in fields.items()
    }


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if isinstance(value, Activation) else value


def from_data(data: Any, depth: int = _MAX_DEPTH) -> Any:
    """Return the net with names instead of arrays; raise WeightsError for invalid data."""
    if not isinstance(data, dict) or depth == 0:
        raise WeightsError(
            f"a part of the net is {shown(data)}: expected an object, at most {_MAX_DEPTH} deep"
        )
    fields = dict(data)
    kind = str(fields.pop("kind", None))
    if kind in _STACKS and fields.keys() == {"layers"} and isinstance(fields["layers"], list):
        return _STACKS[kind](from_data(layer, depth - 1) for layer in fields["layers"])
    layer = _LAYERS.get(kind)
    if layer is None or fields.keys() != {field.name for field in dataclasses.fields(layer)}:
        raise WeightsError(
            f"a part of the net is of kind {shown(kind)} with {shown(', '.join(fields))}: "
            f"expected one of {', '.join((*_LAYERS, *_STACKS))} with its fields"
        )
    for name, value in fields.items():
        if name not in _FIELDS:
            fields[name] = from_data(value, depth - 1)
            continue
        if Activation in _FIELDS[name] and isinstance(value, dict):
            try:
                value = fields[name] = Activation(**value)
            except (TypeError, ValueError, OverflowError) as error:
                raise WeightsError(
                    f"{name} of a layer is {shown(value)}: {first_line(error)}"
                ) from None
        if type(value) not in _FIELDS[name]:
            raise WeightsError(f"{name} of a layer is {shown(value)}: expected another type")
    try:
        return layer(**fields)
    except (ValueError, OverflowError) as error:
        raise WeightsError(first_line(error)) from None
