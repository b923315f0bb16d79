"""The GRUs of a model, by the names of their nodes, or as the one net that jaxgru wrote."""

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgru.net import Backward, Bidirectional, Net
from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.formats.onnx.budget import Budget
from jaxgru.weights.formats.onnx.constants import Constants
from jaxgru.weights.formats.onnx.external import External
from jaxgru.weights.formats.onnx.graphs import Place, is_standard, places
from jaxgru.weights.formats.onnx.nodes import GRUNode, read_node
from jaxgru.weights.formats.onnx.structure import KEY, from_text
from jaxgru.weights.results import UNNAMED, Found, Gathered
from jaxgru.weights.unspecified import Settling


def gather(
    model: Any, size: int, assume: Mapping[str, Any], data_folder: Path | None = None
) -> Gathered:
    """Return every GRU of a parsed model, in the order of its nodes.

    Args:
        model: a ModelProto.
        size: of the model in bytes, which what is allocated for it is compared with.
        assume: what the caller says of the GRUs.
        data_folder: where external data may lie; None: nowhere.

    Raises:
        WeightsError: there is no GRU node, or the model contradicts itself.
    """
    budget = Budget(size)
    constants = Constants(budget, External(data_folder, budget))
    nodes: dict[str, GRUNode | WeightsError] = {}
    kinds: collections.Counter[str] = collections.Counter()
    namer = _Namer()
    for place in places(model):
        kind = str(place.node.op_type)
        kinds[kind] += 1
        if "GRU" in kind and place.function is None:
            name = namer.free(place.node.name)
            try:
                nodes[name] = _read(place, constants, budget, assume)
            except WeightsError as error:
                nodes[name] = error
    if not nodes:
        raise WeightsError(_nothing(kinds))
    return _written(model, nodes, assume)


class _Namer:
    """Gives names that are not taken: a node need not have one, and two may have the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: collections.Counter[str] = collections.Counter()

    def free(self, name: str | bytes) -> str:
        wanted = name if name and isinstance(name, str) else UNNAMED
        free = wanted
        while free in self._taken:
            self._next[wanted] += 1
            free = f"{wanted}_{self._next[wanted]}"
        self._taken.add(free)
        return free


def _read(place: Place, constants: Constants, budget: Budget, assume: Mapping[str, Any]) -> GRUNode:
    node = place.node
    if node.op_type != "GRU" or not is_standard(node):
        raise WeightsError(
            f"the operator is {shown(node.op_type)} of domain {shown(node.domain)}: expected GRU "
            "of ONNX itself, as no other has a definition to go by"
        )
    return read_node(place, constants, budget, assume)


def _written(
    model: Any, nodes: dict[str, GRUNode | WeightsError], assume: Mapping[str, Any]
) -> Gathered:
    """Return the net that jaxgru wrote, or, where there is none, one GRU for each node."""
    texts = [str(entry.value) for entry in model.metadata_props if entry.key == KEY]
    note: tuple[str, ...] = ()
    if texts:
        sound = {name: node for name, node in nodes.items() if isinstance(node, GRUNode)}
        try:
            net = from_text(texts[0], sound)
        except WeightsError as error:
            note = (f"its GRUs are given one by one, as its metadata do not fit them: {error}",)
        else:
            return {UNNAMED: _as_written(net, sound, assume)}
    return {name: _as_found(node, assume, note) for name, node in nodes.items()}


def _as_written(
    net: Net, nodes: Mapping[str, GRUNode], assume: Mapping[str, Any]
) -> Found | WeightsError:
    settling = Settling(assume)
    try:
        settling.pick("reverse", isinstance(net, Backward))
        if isinstance(net, Bidirectional):
            settling.pick("merge", net.merge)
    except WeightsError as error:
        return error
    return Found(net, tuple(note for node in nodes.values() for note in node.notes))


def _as_found(
    node: GRUNode | WeightsError, assume: Mapping[str, Any], more: tuple[str, ...]
) -> Found | WeightsError:
    if isinstance(node, WeightsError):
        return node
    settling = Settling(assume)
    try:
        settling.pick("reverse", node.direction == "reverse")
        net: Net = node.sides[0]
        if node.direction == "bidirectional":
            said = () if node.merge is None else (node.merge,)
            net = Bidirectional(node.sides[0], node.sides[1], settling.pick("merge", *said))
        elif node.direction == "reverse":
            net = Backward(net)
    except WeightsError as error:
        return error
    return Found(net, (*node.notes, *settling.notes(), *more))


def _nothing(kinds: Mapping[str, int]) -> str:
    """Return what to say of a model without a GRU node."""
    loops = sum(kinds.get(kind, 0) for kind in ("Loop", "Scan"))
    if loops:
        return (
            f"there is no GRU node in it, but {loops} of Loop or Scan, into which some exporters "
            "turn a GRU: expected it to be exported as GRU"
        )
    others = [kind for kind in ("LSTM", "RNN") if kind in kinds]
    held = f"but {' and '.join(others)}" if others else f"among {sum(kinds.values())} nodes"
    return f"there is no GRU node in it, {held}: expected one at least"
