"""The structure of a net in the metadata of a model: what GRU nodes alone do not tell.

Nodes say nothing of stacks, of how two directions are merged, of a bias that is None, or of a clip
in more than float32. A model that jaxgru writes has it as JSON under the key ``jaxgru``::

    {"version": 1, "net": ["tuple", [["layer", {"node": "gru_0", "side": 0, "bias": true,
                                                "recurrent_bias": false, "clip": null}], ...]]}

with ``layer``, ``bidirectional``, ``backward``, ``tuple`` and ``list`` for the parts of a net.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxgru.net import Backward, Bidirectional, Net, check_net
from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError, first_line
from jaxgru.weights.formats.onnx.nodes import GRUNode

KEY = "jaxgru"
_VERSION = 1
_LONGEST = 2**20  # of the JSON, in characters


class Seat(NamedTuple):
    """Where a layer is in a model."""

    node: str
    side: int  # which direction of the node


def to_text(net: Net, seats: Iterator[Seat]) -> str:
    """Return the structure of a net as text.

    Args:
        net: the net.
        seats: where each layer is, in the order of the pytree.
    """
    return json.dumps({"version": _VERSION, "net": _described(net, seats)})


def from_text(text: str, nodes: Mapping[str, GRUNode]) -> Net:
    """Return the net that a model holds.

    Args:
        text: from ``to_text``.
        nodes: every GRU node of the model by name.

    Raises:
        WeightsError: the text is damaged, or the nodes are not those it was written for.
    """
    if len(text) > _LONGEST:
        raise WeightsError(f"it has {len(text)} characters: expected at most {_LONGEST}")
    try:
        said = json.loads(text)
        if said["version"] != _VERSION:
            raise WeightsError(f"it has version {said['version']!r:.40}: expected {_VERSION}")
        builder = _Builder(nodes)
        net: Net = builder.net(said["net"], reverse=False)
        builder.check_all_seated()
        check_net(net)
    except WeightsError:
        raise
    # What is not as to_text writes it: no JSON, another type, a key or item that is missing, or
    # layers that do not fit together.
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"it is damaged ({first_line(error)})") from error
    return net


def _described(net: Net, seats: Iterator[Seat]) -> list[Any]:
    if isinstance(net, GRUParams):
        seat = next(seats)
        biases = {name: getattr(net, name) is not None for name in ("bias", "recurrent_bias")}
        return ["layer", {**seat._asdict(), **biases, "clip": net.clip}]
    if isinstance(net, Bidirectional):
        sides = [_described(side, seats) for side in (net.forward, net.backward)]
        return ["bidirectional", [*sides, net.merge]]
    if isinstance(net, Backward):
        return ["backward", _described(net.net, seats)]
    kind = "list" if isinstance(net, list) else "tuple"
    return [kind, [_described(layer, seats) for layer in net]]


class _Builder:
    """Puts a net together from the nodes of a model, each side of a node once."""

    def __init__(self, nodes: Mapping[str, GRUNode]) -> None:
        self._nodes = nodes
        self._free = {
            Seat(name, side) for name, node in nodes.items() for side in range(len(node.sides))
        }

    def net(self, said: Any, *, reverse: bool) -> Any:
        kind, content = said
        if kind == "layer":
            return self._layer(content, reverse=reverse)
        if kind == "bidirectional":
            forward, backward, merge = content
            return Bidirectional(
                self.net(forward, reverse=reverse), self.net(backward, reverse=not reverse), merge
            )
        if kind == "backward":
            return Backward(self.net(content, reverse=not reverse))
        if kind in ("tuple", "list"):
            layers = [self.net(layer, reverse=reverse) for layer in content]
            return layers if kind == "list" else tuple(layers)
        raise WeightsError(f"it has a {kind!r:.40}: expected a part of a net")

    def check_all_seated(self) -> None:
        if self._free:
            seat = min(self._free)
            raise WeightsError(f"it does not name node {seat.node!r:.40}, direction {seat.side}")

    def _layer(self, said: Any, *, reverse: bool) -> GRUParams:
        seat = Seat(said["node"], said["side"])
        if seat not in self._free:
            raise WeightsError(f"it names node {seat.node!r:.40}: expected one that is there, once")
        self._free.remove(seat)
        node = self._nodes[seat.node]
        goes_back = node.direction == "reverse" or seat.side == 1
        if goes_back != reverse:
            raise WeightsError(f"node {seat.node!r:.40} goes the other way than it says")
        params = node.sides[seat.side]
        changes: dict[str, Any] = {"clip": _clip(said["clip"], params.clip)}
        for name in ("bias", "recurrent_bias"):
            if not said[name]:
                if np.any(getattr(params, name)):
                    raise WeightsError(f"node {seat.node!r:.40} has a {name}: expected none")
                changes[name] = None
        return dataclasses.replace(params, **changes)


def _clip(said: Any, held: float | None) -> float | None:
    """Return the clip as it was before the node made it float32."""
    if (said is None) != (held is None):
        raise WeightsError(f"its clip is {said!r:.40}: expected {held!r}, as the node has it")
    if said is not None and held is not None:
        with np.errstate(over="ignore"):
            is_same = math.isfinite(said) and float(np.float32(said)) == held
        if not is_same:
            raise WeightsError(f"its clip is {said!r:.40}: expected {held!r}, as the node has it")
    return said if said is None else float(said)
