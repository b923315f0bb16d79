"""The GRUs of a model, by the names of their nodes, or as the one net that jaxgru wrote."""

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgru.net import Backward, Bidirectional
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.onnx.constants import Constants
from jaxgru.weights.formats.onnx.external import External
from jaxgru.weights.formats.onnx.graphs import places
from jaxgru.weights.formats.onnx.metadata import KEY, from_text
from jaxgru.weights.formats.onnx.nodes import GRUNode, read_node
from jaxgru.weights.limits import Budget
from jaxgru.weights.results import UNNAMED, Found, Gathered
from jaxgru.weights.unspecified import Fields


def gather(
    model: Any, size: int, assume: Mapping[str, Any], data_folder: Path | None = None
) -> Gathered:
    """Return every GRU of a parsed model, in the order of its nodes.

    Args:
        model: a ModelProto.
        size: of the model in bytes, with which is compared what is allocated for it.
        assume: what the caller assumes of the GRUs.
        data_folder: where external data may lie; None: nowhere.
    """
    budget = Budget(size)
    constants = Constants(budget, External(data_folder, budget))
    nodes: dict[str, GRUNode | WeightsError] = {}
    kinds: collections.Counter[str] = collections.Counter()
    numbers: collections.Counter[str] = collections.Counter()
    for place in places(model):
        kind = str(place.node.op_type)
        kinds[kind] += 1
        if "GRU" not in kind or place.function is not None:
            continue
        # A node need not have a name that is text, and two may have the same.
        own = place.node.name
        wanted = name = own if own and isinstance(own, str) else UNNAMED
        while name in nodes:
            numbers[wanted] += 1
            name = f"{wanted}_{numbers[wanted]}"
        try:
            nodes[name] = read_node(place, constants, assume)
        except WeightsError as error:
            nodes[name] = error
    if not nodes:
        raise WeightsError(_nothing(kinds))
    return _as_written(model, nodes, assume) or _as_nodes(nodes, assume)


def _as_written(
    model: Any, nodes: dict[str, GRUNode | WeightsError], assume: Mapping[str, Any]
) -> Gathered | None:
    """Return the net that jaxgru wrote, None where the model has none."""
    texts = [str(entry.value) for entry in model.metadata_props if entry.key == KEY]
    if not texts:
        return None
    held = {name: node for name, node in nodes.items() if isinstance(node, GRUNode)}
    try:
        net = from_text(texts[0], held)
    except WeightsError as error:
        return _as_nodes(
            nodes,
            assume,
            f"its GRUs are given one by one, as its metadata do not fit them: {error}",
        )
    fields = Fields(assume)
    try:
        fields.resolve("reverse", isinstance(net, Backward))
        if isinstance(net, Bidirectional):
            fields.resolve("merge", net.merge)
    except WeightsError as error:
        return {UNNAMED: error}
    return {UNNAMED: Found(net, tuple(note for node in held.values() for note in node.notes))}


def _as_nodes(
    nodes: dict[str, GRUNode | WeightsError], assume: Mapping[str, Any], *notes: str
) -> Gathered:
    gathered: Gathered = {}
    for name, node in nodes.items():
        try:
            gathered[name] = node if isinstance(node, WeightsError) else node.found(assume, notes)
        except WeightsError as error:
            gathered[name] = error
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
    return f"there is no GRU node in it, {held}: expected one at least"
