"""The GRUs of a model by the names of their nodes, or the net of a model by jaxgru.

Nodes do not include stacks, the merge of two directions, a bias of None, or a clip in more than
float32. Models by jaxgru therefore have the net in the metadata under the key ``jaxgru``:
``{"version": 2, "net": ...}``, in the JSON form of ``jaxgru._weights.net_json``. Arrays are named
``node/side/field``, such as ``gru_0/1/kernel`` for the kernel of the backward direction of the node
``gru_0``.
"""

import collections
import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgru._net import Layer, Net, check_net, map_layers, parts
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import arrays_of
from jaxgru._weights.defaults import Assumed, Fields
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, damaged, result_or_error, shown
from jaxgru._weights.formats.onnx.activations import float32, rounded
from jaxgru._weights.formats.onnx.constants import Constants
from jaxgru._weights.formats.onnx.flow import Flow, Wired
from jaxgru._weights.formats.onnx.graphs import Place, places
from jaxgru._weights.formats.onnx.nodes import GRUNode, read_node
from jaxgru._weights.formats.onnx.tensors import External
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.limits import Budget
from jaxgru._weights.net_json import from_data, to_data
from jaxgru._weights.results import UNNAMED, GRUsByName, LoadedGRU

KEY = "jaxgru"
_VERSION = 2
# The exporter of PyTorch 2.10 with onnxscript up to 0.6.2.
_NOT_OF_PYTORCH = (
    "linear_before_reset is 0, but torch.nn.GRU has the reset gate after the product, and some "
    'versions of PyTorch\'s exporter wrote 0 for it: override={"reset_after": True} corrects that'
)
_LONGEST = 2**20  # of the JSON, in characters
# The fields of a layer whose numbers a node has as float32, each with how it is rounded.
_ROUNDED = {"activation": rounded, "recurrent_activation": rounded, "clip": float32}
_ARRAYS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


def gather(
    model: Any,
    size: int,
    assume: Mapping[str, Any],
    data_folder: Path | None = None,
    values: Arrays | None = None,
) -> GRUsByName:
    """Return all GRUs of a ModelProto with this number of bytes, in the order of the nodes.

    External data may be in ``data_folder``; None: not allowed. ``values`` are those of the
    initializers; None: as in the model.
    """
    budget = Budget(size)
    constants = Constants(budget, External(data_folder, budget), values)
    nodes: dict[str, GRUNode | WeightsError] = {}
    where: dict[str, Place] = {}
    kinds: collections.Counter[str] = collections.Counter()
    numbers: collections.Counter[str] = collections.Counter()
    override = assume.override if isinstance(assume, Assumed) else {}
    for place in places(model):
        kind = str(place.node.op_type)
        kinds[kind] += 1
        if "GRU" not in kind or place.function is not None:
            continue
        # The name of a node may be missing or a duplicate.
        own = place.node.name
        wanted = name = own if own and isinstance(own, str) else UNNAMED
        while name in nodes:
            numbers[wanted] += 1
            name = f"{wanted}_{numbers[wanted]}"
        found, where[name] = result_or_error(read_node, place, constants, assume), place
        is_fault = model.producer_name == "pytorch" and "reset_after" not in override
        if is_fault and isinstance(found, GRUNode) and not found.sides[0].reset_after:
            found = found._replace(notes=(*found.notes, _NOT_OF_PYTORCH))
        nodes[name] = found
    if not nodes:
        raise WeightsError(_nothing(kinds))
    sound = {name: node for name, node in nodes.items() if isinstance(node, GRUNode)}
    flow = Flow({name: (where[name], node.direction) for name, node in sound.items()}, constants)
    wired = {name: flow.wired(name) for name in sound}
    return _as_written(model, nodes, wired, assume) or _as_nodes(nodes, wired, assume)


def _as_written(
    model: Any,
    nodes: dict[str, GRUNode | WeightsError],
    wired: Mapping[str, Wired],
    assume: Mapping[str, Any],
) -> GRUsByName | None:
    """Return the net of a model by jaxgru, None for other models."""
    texts = [str(entry.value) for entry in model.metadata_props if entry.key == KEY]
    if not texts:
        return None
    held = {name: node for name, node in nodes.items() if isinstance(node, GRUNode)}
    try:
        net = from_text(texts[0], held, wired)
    except WeightsError as error:
        note = f"its GRUs are given one by one, as its metadata do not fit them: {error}"
        return _as_nodes(nodes, wired, assume, note)
    fields = Fields(assume)
    try:
        kind, _, merge = parts(net)
        fields.resolve("reverse", kind == "backward")
        if kind == "bidirectional":
            fields.resolve("merge", merge)
    except WeightsError as error:
        return {UNNAMED: error}
    return {UNNAMED: LoadedGRU(net, tuple(note for node in held.values() for note in node.notes))}


def _as_nodes(
    nodes: dict[str, GRUNode | WeightsError],
    wired: Mapping[str, Wired],
    assume: Mapping[str, Any],
    *notes: str,
) -> GRUsByName:
    gathered: GRUsByName = {}
    partners = {wiring.partner for wiring in wired.values()}
    for name, node in nodes.items():
        if isinstance(node, WeightsError):
            gathered[name] = node
        elif name not in partners:
            other = wired[name].partner
            partner: Any = None if other is None else nodes[other]
            pair = name if other is None else f"{name},{other}"
            gathered[pair] = result_or_error(node.found, wired[name], assume, notes, partner)
    return gathered


def _nothing(kinds: Mapping[str, int]) -> str:
    """Return the message about a model without a GRU node."""
    loops = sum(kinds.get(kind, 0) for kind in ("Loop", "Scan"))
    if loops:
        return (
            f"there is no GRU node in it, but {loops} of Loop or Scan, into which some exporters "
            "turn a GRU: expected it to be exported as GRU"
        )
    others = [kind for kind in ("LSTM", "RNN") if kind in kinds]
    held = f"but {' and '.join(others)}" if others else f"among {sum(kinds.values())} nodes"
    return f"there is no GRU node in it, {held}: expected at least one"


def to_text(net: Net, seats: Iterable[str]) -> str:
    """Return a net as text, given the node and side of each layer in the order of the pytree."""
    rest = iter(seats)

    def named(layer: Layer) -> GRUParams:
        place = next(rest)
        held: Any = {field: f"{place}/{field}" for field in arrays_of(layer.params)}
        params: GRUParams = dataclasses.replace(layer.params, **held)
        return params

    return json.dumps({"version": _VERSION, "net": to_data(map_layers(named, net))})


def from_text(text: str, nodes: Mapping[str, GRUNode], wired: Mapping[str, Wired]) -> Net:
    """Return the net of a model, given its GRU nodes by name."""
    parsed = parse_json(text, "it", _LONGEST)
    if not isinstance(parsed, dict) or not {"version", "net"} <= parsed.keys():
        raise WeightsError(f"it is {shown(parsed)}: expected version and net")
    version, data = parsed["version"], parsed["net"]
    if version != _VERSION:
        raise WeightsError(f"it has version {shown(version)}: expected {_VERSION}")
    free = {
        f"{name}/{side}": (
            params,
            wired[name].goes_back != (node.direction == "reverse" or side == 1),
        )
        for name, node in nodes.items()
        for side, params in enumerate(node.sides)
    }
    with damaged("it is damaged", ValueError):
        net: Net = map_layers(functools.partial(_filled, free), from_data(data))
    if free:
        raise WeightsError(f"it does not name {shown(min(free))}: expected every node")
    with damaged("it is damaged", ValueError):
        check_net(net)
    return net


def _filled(free: dict[str, tuple[GRUParams, bool]], layer: Layer) -> GRUParams:
    """Return a layer with names replaced by arrays, each direction of a node used once."""
    place = str(layer.params.kernel).removesuffix("/kernel")
    if place not in free:
        raise WeightsError(f"it names {shown(place)}: expected a node that is there, once")
    params, goes_back = free.pop(place)
    if goes_back != layer.reverse:
        raise WeightsError(f"{shown(place)} goes the other way than in it")
    return _checked(layer.params, params, place)


def _checked(named: GRUParams, params: GRUParams, place: str) -> GRUParams:
    """Return the layer in the metadata, which must be equivalent to the node."""
    # Numbers are not rounded there.
    changes: dict[str, Any] = {field: getattr(named, field) for field in _ROUNDED}
    for field in _ARRAYS:
        if getattr(named, field) is None:
            if np.any(getattr(params, field)):
                raise WeightsError(f"{shown(place)} has a {field}: expected none")
            changes[field] = None
        elif getattr(named, field) != f"{place}/{field}" or getattr(params, field) is None:
            raise WeightsError(f"{field} of {shown(place)} is another array: expected its own")
    for field in ("reset_after", *_ROUNDED):
        given, stored = getattr(named, field), getattr(params, field)
        as_stored = _ROUNDED.get(field, bool)
        if as_stored(given) != as_stored(stored):
            raise WeightsError(
                f"{field} of {shown(place)} is {given!r}: expected {stored!r}, as the node has it"
            )
    return dataclasses.replace(params, **changes)
