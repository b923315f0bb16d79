"""A GRU node of ONNX as the layers it stands for.

``W (D, 3H, I)``, ``R (D, 3H, H)`` and ``B (D, 6H)``, input side before state side, hold the blocks
z, r, h as rows, for D directions. ``linear_before_reset`` is ``reset_after``. The ``layout`` says
how the inputs and outputs lie, and changes no weight.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru.params import GRUParams
from jaxgru.weights.dtypes import check_floats
from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.formats.onnx.activations import names_of
from jaxgru.weights.formats.onnx.attributes import attributes_of, get
from jaxgru.weights.formats.onnx.budget import Budget
from jaxgru.weights.formats.onnx.constants import Constants
from jaxgru.weights.formats.onnx.graphs import Place
from jaxgru.weights.formats.onnx.merging import are_joined
from jaxgru.weights.unspecified import Settling

DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
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
    """What a GRU node holds."""

    sides: tuple[GRUParams, ...]  # one layer for each direction
    direction: str  # forward, reverse or bidirectional
    merge: str | None = None  # of both directions, where the graph tells it
    notes: tuple[str, ...] = ()


def read_node(
    place: Place, constants: Constants, budget: Budget, assume: Mapping[str, Any]
) -> GRUNode:
    """Return what a GRU node holds.

    Args:
        place: the node.
        constants: the constant values of the model.
        budget: how much may be allocated.
        assume: what the caller says of the GRU, which the node may contradict.

    Raises:
        WeightsError: no layers hold it exactly, or its weights are not in the file.
    """
    attributes, settling = attributes_of(place.node), Settling(assume)
    unknown = [name for name in attributes if name not in _ATTRIBUTES]
    if unknown:
        raise WeightsError(f"attribute {shown(unknown[0])} is none of a GRU node's")
    direction = get(attributes, "direction", "string", "forward")
    if direction not in DIRECTIONS:
        raise WeightsError(f"direction is {direction[:40]!a}: expected {', '.join(DIRECTIONS)}")
    layout = get(attributes, "layout", "int", 0)
    if layout not in (0, 1):
        raise WeightsError(f"layout is {layout}: expected 0 or 1")
    arrays = _arrays(place, constants)
    _check_shapes(arrays, DIRECTIONS[direction], get(attributes, "hidden_size", "int"))
    budget.spend(sum(array.nbytes for array in arrays.values()))
    reset_after = bool(get(attributes, "linear_before_reset", "int", 0))
    clip = _clip(get(attributes, "clip", "float", 0.0))
    sides = tuple(
        GRUParams(
            **_layer_arrays(arrays, side),
            reset_after=settling.pick("reset_after", reset_after),
            activation=settling.pick("activation", activation),
            recurrent_activation=settling.pick("recurrent_activation", recurrent_activation),
            clip=clip,
        )
        for side, (recurrent_activation, activation) in enumerate(
            _activations(attributes, DIRECTIONS[direction])
        )
    )
    merge = "concat" if direction == "bidirectional" and are_joined(place) else None
    return GRUNode(sides, direction, merge, _notes(place, constants, budget))


def _layer_arrays(arrays: dict[str, NDArray[Any]], side: int) -> dict[str, Any]:
    """Return the arrays of one direction by our names, copied."""
    kernel, recurrent_kernel = (np.ascontiguousarray(arrays[name][side].T) for name in "WR")
    found = {"kernel": kernel, "recurrent_kernel": recurrent_kernel}
    if "B" in arrays:
        bias, recurrent_bias = (half.copy() for half in np.split(arrays["B"][side], 2))
        found |= {"bias": bias, "recurrent_bias": recurrent_bias}
    return found


def _arrays(place: Place, constants: Constants) -> dict[str, NDArray[Any]]:
    arrays = {}
    for index, name in enumerate("WRB", start=1):
        value = _input(place, index)
        if not value:
            if name == "B":
                continue
            raise WeightsError(f"input {name} is left out: expected weights")
        try:
            arrays[name] = constants.value(place.scope, value)
        except WeightsError as error:
            raise WeightsError(f"input {name}: {error}") from error.__cause__
    check_floats(arrays)
    return arrays


def _input(place: Place, index: int) -> str:
    """Return the name of an input, "" where it is left out."""
    return str(place.node.input[index]) if index < len(place.node.input) else ""


def _check_shapes(arrays: dict[str, NDArray[Any]], directions: int, said: int | None) -> None:
    """Raise WeightsError unless the shapes, and the said number of units, fit one another."""
    shape = arrays["R"].shape
    if len(shape) != 3 or shape[0] != directions or shape[1] != 3 * shape[2]:
        raise WeightsError(
            f"R has shape {shape}: expected ({directions}, 3H, H), for H units in {directions} "
            "directions"
        )
    units = shape[2]
    if said is not None and said != units:
        raise WeightsError(f"hidden_size is {said}: expected {units}, as R has shape {shape}")
    shape = arrays["W"].shape
    if len(shape) != 3 or shape[:2] != (directions, 3 * units):
        raise WeightsError(
            f"W has shape {shape}: expected ({directions}, {3 * units}, I), for the {units} units "
            "of R"
        )
    if "B" in arrays and arrays["B"].shape != (directions, 6 * units):
        raise WeightsError(
            f"B has shape {arrays['B'].shape}: expected ({directions}, {6 * units}), for the "
            f"{units} units of R"
        )


def _clip(clip: float) -> float | None:
    """Return the clip; some exporters write 0 where there is none."""
    if clip < 0 or math.isnan(clip):
        raise WeightsError(f"clip is {clip!r}: expected a positive number, or 0 for none")
    return clip if 0 < clip < math.inf else None


def _activations(attributes: dict[str, Any], directions: int) -> list[tuple[str, str]]:
    """Return our names of recurrent activation and activation for each direction."""
    functions = get(attributes, "activations", "strings", [])
    if functions and len(functions) != 2 * directions:
        raise WeightsError(
            f"activations has {len(functions)} functions: expected {2 * directions}, two for each "
            "direction"
        )
    names = names_of(
        functions or ["Sigmoid", "Tanh"] * directions,
        get(attributes, "activation_alpha", "floats", []),
        get(attributes, "activation_beta", "floats", []),
    )
    return list(zip(names[::2], names[1::2], strict=True))


def _notes(place: Place, constants: Constants, budget: Budget) -> tuple[str, ...]:
    name = _input(place, 5)
    producer = place.scope.producers.get(name)
    if producer is not None and producer.op_type == "Expand" and producer.input:
        name = str(producer.input[0])  # one state, repeated for each sequence of a batch
    if not name:
        return ()
    try:
        initial = constants.value(place.scope, name)
    except WeightsError:
        return ()  # no constant: whoever runs the model gives it
    budget.spend(initial.nbytes)
    if not np.any(initial != 0):
        return ()
    return (f"the state begins at the constant {shown(name)} of the model: give it as h0",)
