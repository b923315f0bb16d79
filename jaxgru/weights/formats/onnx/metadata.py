"""The net that a model was written from, as JSON in its metadata under the key ``jaxgru``.

Nodes alone hold neither stacks, nor how two directions are merged, nor a bias that is None, nor a
clip in more than float32. The text is ``{"version": 2, "net": ...}`` with the JSON form of
``jaxgru.weights.net_json``, in which an array's name is ``node/side/field``, such as
``gru_0/1/kernel`` for the kernel of the backward direction of the node ``gru_0``.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxgru.net import Backward, Bidirectional, Net, check_net
from jaxgru.params import GRUParams
from jaxgru.weights.equations import map_layers
from jaxgru.weights.errors import WeightsError, first_line, shown
from jaxgru.weights.formats.onnx.nodes import GRUNode
from jaxgru.weights.net_json import from_data, to_data

KEY = "jaxgru"
_VERSION = 2
_LONGEST = 2**20  # of the JSON, in characters
_ARRAYS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
_STATIC = ("reset_after", "activation", "recurrent_activation")


def seat(node: str, side: int) -> str:
    """Return where a layer is in a model: the name of its node, and which direction it is."""
    return f"{node}/{side}"


def to_text(net: Net, seats: Iterable[str]) -> str:
    """Return a net as text, given the seat of each layer in the order of the pytree."""
    rest = iter(seats)

    def named(params: GRUParams) -> GRUParams:
        place = next(rest)
        held: Any = {
            field: f"{place}/{field}" for field in _ARRAYS if getattr(params, field) is not None
        }
        return dataclasses.replace(params, **held)

    return json.dumps({"version": _VERSION, "net": to_data(map_layers(named, net))})


def from_text(text: str, nodes: Mapping[str, GRUNode]) -> Net:
    """Return the net that a model holds, given its GRU nodes by name."""
    if len(text) > _LONGEST:
        raise WeightsError(f"it has {len(text)} characters: expected at most {_LONGEST}")
    try:
        parsed = json.loads(text)
        version, data = parsed["version"], parsed["net"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"it is damaged ({first_line(error)})") from error
    if version != _VERSION:
        raise WeightsError(f"it has version {shown(version)}: expected {_VERSION}")
    free = {
        seat(name, side): (params, node.direction == "reverse" or side == 1)
        for name, node in nodes.items()
        for side, params in enumerate(node.sides)
    }
    net: Net = _filled(from_data(data), free, reverse=False)
    if free:
        raise WeightsError(f"it does not name {shown(min(free))}: expected every node")
    try:
        check_net(net)
    except ValueError as error:
        raise WeightsError(f"it is damaged ({first_line(error)})") from None
    return net


def _filled(named: Any, free: dict[str, tuple[GRUParams, bool]], *, reverse: bool) -> Any:
    """Return a net with the arrays in the place of their names, each seat taken once."""
    if isinstance(named, GRUParams):
        place = str(named.kernel).removesuffix("/kernel")
        if place not in free:
            raise WeightsError(f"it names {shown(place)}: expected a node that is there, once")
        params, goes_back = free.pop(place)
        if goes_back != reverse:
            raise WeightsError(f"{shown(place)} goes the other way than in it")
        return _checked(named, params, place)
    if isinstance(named, Bidirectional):
        forward = _filled(named.forward, free, reverse=reverse)
        return Bidirectional(
            forward, _filled(named.backward, free, reverse=not reverse), named.merge
        )
    if isinstance(named, Backward):
        return Backward(_filled(named.net, free, reverse=not reverse))
    return type(named)(_filled(layer, free, reverse=reverse) for layer in named)


def _checked(named: GRUParams, params: GRUParams, place: str) -> GRUParams:
    """Return the layer of a node as the text has it, which must be what the node computes."""
    changes: dict[str, Any] = {"clip": named.clip}
    for field in _ARRAYS:
        if getattr(named, field) is None:
            if np.any(getattr(params, field)):
                raise WeightsError(f"{shown(place)} has a {field}: expected none")
            changes[field] = None
        elif getattr(named, field) != f"{place}/{field}" or getattr(params, field) is None:
            raise WeightsError(f"{field} of {shown(place)} is another array: expected its own")
    for field in _STATIC:
        if getattr(named, field) != getattr(params, field):
            raise WeightsError(
                f"{field} of {shown(place)} is {getattr(named, field)!r}: expected "
                f"{getattr(params, field)!r}, as the node has it"
            )
    if not _same_clip(named.clip, params.clip):
        raise WeightsError(
            f"clip of {shown(place)} is {named.clip!r}: expected {params.clip!r}, as the node has "
            "it"
        )
    return dataclasses.replace(params, **changes)


def _same_clip(exact: float | None, stored: float | None) -> bool:
    """Tell whether a clip is, as a node stores it in float32, the stored one."""
    if exact is None or stored is None:
        return exact is stored
    with np.errstate(over="ignore"):
        return math.isfinite(exact) and float(np.float32(exact)) == stored
