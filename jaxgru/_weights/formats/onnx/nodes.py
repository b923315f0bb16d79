"""GRU nodes of ONNX and the corresponding layers.

``W (D, 3H, I)``, ``R (D, 3H, H)`` and ``B (D, 6H)``, input side before state side, have the blocks
z, r, h as rows, for D directions. ``linear_before_reset`` is ``reset_after``. The ``layout`` is
that of the inputs and outputs, not of the weights.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru._net import Backward, Bidirectional, Net
from jaxgru._params import GRUParams
from jaxgru._weights.defaults import Fields
from jaxgru._weights.errors import WeightsError, prefix_errors, shown
from jaxgru._weights.formats.onnx.activations import activations_of
from jaxgru._weights.formats.onnx.constants import Constants
from jaxgru._weights.formats.onnx.flow import Wired
from jaxgru._weights.formats.onnx.graphs import Place, attributes_of, get, is_standard
from jaxgru._weights.libraries.names import check_arrays
from jaxgru._weights.results import LoadedGRU

_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_ATTRIBUTES = {
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "layout",
    "linear_before_reset",
    "output_sequence",  # until opset 7: whether there is an output Y
}


class GRUNode(NamedTuple):
    """The contents of a GRU node."""

    sides: tuple[GRUParams, ...]  # one layer for each direction
    direction: str  # forward, reverse or bidirectional
    notes: tuple[str, ...]

    def found(
        self,
        wired: Wired,
        assume: Mapping[str, Any],
        more: tuple[str, ...],
        partner: "GRUNode | None" = None,
    ) -> LoadedGRU:
        """Return the net of the node, or of a pair; raise WeightsError for a contradiction."""
        fields = Fields(assume)
        sides = self.sides if partner is None else (*self.sides, *partner.sides)
        goes_back = wired.goes_back != (self.direction == "reverse")
        if wired.is_swapped:  # the direction that runs back is first, as in what runs backward
            sides, goes_back = sides[::-1], not goes_back
        net: Net = sides[0]
        if len(sides) == 2:
            net = Bidirectional(*sides, fields.resolve("merge", *filter(None, [wired.merge])))
        else:
            fields.resolve("reverse", goes_back)
        notes = (*self.notes, *wired.notes, *fields.notes(), *more)
        return LoadedGRU(Backward(net) if goes_back else net, notes, wired.inputs)


def read_node(place: Place, constants: Constants, assume: Mapping[str, Any]) -> GRUNode:
    """Return the contents of a GRU node."""
    node = place.node
    if node.op_type != "GRU" or not is_standard(node):
        raise WeightsError(
            f"the operator is {shown(node.op_type)} of domain {shown(node.domain)}: expected GRU "
            "of ONNX itself, as no other has a definition"
        )
    attributes, fields = attributes_of(node), Fields(assume)
    unknown = [name for name in attributes if name not in _ATTRIBUTES]
    if unknown:
        raise WeightsError(f"attribute {shown(unknown[0])} is none of a GRU node's")
    direction = get(attributes, "direction", "string", "forward")
    if direction not in _DIRECTIONS:
        raise WeightsError(f"direction is {shown(direction)}: expected {', '.join(_DIRECTIONS)}")
    layout = get(attributes, "layout", "int", 0)
    if layout not in (0, 1):
        raise WeightsError(f"layout is {layout}: expected 0 or 1")
    arrays = _arrays_of_node(place, constants, str(_DIRECTIONS[direction]))
    units, stated = arrays["R"].shape[2], get(attributes, "hidden_size", "int")
    if stated not in (None, units):
        raise WeightsError(
            f"hidden_size is {stated}: expected {units}, as R has shape {arrays['R'].shape}"
        )
    constants.budget.spend(sum(array.nbytes for array in arrays.values()))
    reset_after = bool(get(attributes, "linear_before_reset", "int", 0))
    clip = get(attributes, "clip", "float", 0.0)
    if clip < 0 or math.isnan(clip):
        raise WeightsError(f"clip is {clip!r}: expected a positive number, or 0 for none")
    sides = tuple(
        GRUParams(
            **_layer_arrays(arrays, side),
            reset_after=fields.resolve("reset_after", reset_after),
            activation=fields.resolve("activation", activation),
            recurrent_activation=fields.resolve("recurrent_activation", recurrent_activation),
            clip=clip if 0 < clip < math.inf else None,  # some exporters write 0 for none
        )
        for side, (recurrent_activation, activation) in enumerate(
            _activations(attributes, _DIRECTIONS[direction])
        )
    )
    return GRUNode(sides, direction, _notes(place, constants))


def _layer_arrays(arrays: dict[str, NDArray[Any]], side: int) -> dict[str, Any]:
    """Return copies of the arrays of one direction, by the names of GRUParams."""
    kernel, recurrent_kernel = (np.ascontiguousarray(arrays[name][side].T) for name in "WR")
    found = {"kernel": kernel, "recurrent_kernel": recurrent_kernel}
    if "B" in arrays:
        bias, recurrent_bias = (half.copy() for half in np.split(arrays["B"][side], 2))
        found |= {"bias": bias, "recurrent_bias": recurrent_bias}
    return found


def _arrays_of_node(place: Place, constants: Constants, directions: str) -> dict[str, NDArray[Any]]:
    arrays = {}
    for index, name in enumerate("WRB", start=1):
        value = _input(place, index)
        if not value:
            if name == "B":
                continue
            raise WeightsError(f"input {name} is left out: expected weights")
        with prefix_errors(f"input {name}"):
            arrays[name] = constants.value(place.scope, value)
    letters = {"R": ("3H", "H"), "W": ("3H", "I"), "B": ("6H",)}
    shapes = {name: (directions, *shape) for name, shape in letters.items() if name in arrays}
    return check_arrays(arrays, "", shapes)


def _input(place: Place, index: int) -> str:
    """Return the name of an input, "" if it is omitted."""
    return str(place.node.input[index]) if index < len(place.node.input) else ""


def _activations(attributes: dict[str, Any], directions: int) -> list[tuple[Any, Any]]:
    """Return recurrent activation and activation for each direction."""
    functions = get(attributes, "activations", "strings", [])
    if functions and len(functions) != 2 * directions:
        raise WeightsError(
            f"activations has {len(functions)} functions: expected {2 * directions}, two for each "
            "direction"
        )
    found = activations_of(
        functions or ["Sigmoid", "Tanh"] * directions,
        get(attributes, "activation_alpha", "floats", []),
        get(attributes, "activation_beta", "floats", []),
    )
    return list(zip(found[::2], found[1::2], strict=True))


def _notes(place: Place, constants: Constants) -> tuple[str, ...]:
    name = _input(place, 5)
    producer = place.scope.producers.get(name)
    if producer is not None and producer.op_type == "Expand" and producer.input:
        name = str(producer.input[0])  # one state, repeated for each sequence of a batch
    if not name:
        return ()
    try:
        initial = constants.value(place.scope, name)
    except WeightsError:
        return ()  # an input of the model
    constants.budget.spend(initial.nbytes)
    if not np.any(initial != 0):
        return ()
    return (f"the state begins at the constant {shown(name)} of the model: give it as h0",)
