"""Values of a graph as axes of other values, across the nodes that only move what they are given.

Each value is described by the axes of the value that it is made of: of the outputs of a GRU, of an
input of the model, or of another layer, where the way ends.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.onnx.constants import MOST_STEPS, Constants
from jaxgru._weights.formats.onnx.graphs import Place, Scope, attributes_of, get, is_standard
from jaxgru._weights.formats.onnx.moves import BATCH, ONE, SIDE, TIME, UNITS, Move, View
from jaxgru._weights.formats.onnx.ways import SAME, SELECTING, origin
from jaxgru._weights.limits import MAX_AXES

_MOST_LOOKS = 2**18  # at the nodes before GRUs, of which a model has 75,000 at most, see wire.py
_OF_SHAPES = ("Concat", "Expand", "Tile", "ConstantOfShape", "Reshape", *SAME, *SELECTING)


class Views:
    """The views in a model, given its sound GRU nodes by name with their directions."""

    def __init__(self, grus: Mapping[str, tuple[Place, str]], constants: Constants) -> None:
        self.grus = grus
        self.constants = constants
        self._names = {
            (id(place.scope), place.node.output[0]): name
            for name, (place, _) in grus.items()
            if place.node.output and place.node.output[0]
        }
        self._views: dict[tuple[int, str, int], View | None] = {}
        self._looks = 0

    def inputs(self, name: str, steps: int = 0) -> View | None:
        """Return the inputs of a GRU, None if they are not a value of three axes."""
        place = self.grus[name][0]
        view = self.view(place.scope, str(place.node.input[0]), 3, steps)
        return view if view is not None and len(view.axes) == 3 else None

    def goes_back(self, name: str, inputs: View | None) -> bool:
        """Return whether the first step of a GRU is the last one of the model's."""
        return inputs is not None and inputs.axes[layout(self.grus[name][0])] < 0

    def view(self, scope: Scope, name: str, rank: int, steps: int = 0) -> View | None:
        """Return a value of so many axes as a view of another, 0 if that is unknown."""
        scope, name = origin(scope, name)
        if name not in scope.producers:
            return View((scope, name), tuple(range(rank))) if 0 < rank <= MAX_AXES else None
        key = (id(scope), name, rank)
        if key not in self._views:
            self._views[key] = None  # of a value that is made of itself
            view = self._made(scope, name, rank, steps + 1)
            if view is not None and 0 < len(view.axes) <= MAX_AXES:
                self._views[key] = view
        return self._views[key]

    def _made(self, scope: Scope, name: str, rank: int, steps: int) -> View | None:
        node = scope.producers[name]
        gru = self._names.get((id(scope), name))
        if steps > MOST_STEPS:
            return None
        if gru is not None:
            return self._of_gru(gru, steps)
        start = View((scope, name), tuple(range(rank))) if 0 < rank <= MAX_AXES else None
        if not is_standard(node) or not node.input:
            return start
        try:
            move = Move(self, scope, node, name, rank, steps)
            return move.view() or (
                start and start._replace(touched=dict.fromkeys(move.touched(), node))
            )
        except WeightsError:  # parameters that are computed, or wrong
            touched = range(rank) if node.op_type in SELECTING else ()
            return start and start._replace(touched=dict.fromkeys(touched, node))

    def _of_gru(self, name: str, steps: int) -> View:
        place, direction = self.grus[name]
        time = ~TIME if self.goes_back(name, self.inputs(name, steps)) else TIME
        sides = 2 if direction == "bidirectional" else 1
        side = SIDE if sides == 2 else ONE
        axes = (BATCH, time, side, UNITS) if layout(place) else (time, side, BATCH, UNITS)
        parts = tuple((name, number) for number in range(sides))
        return View((place.scope, str(place.node.output[0])), axes, parts)

    def is_full(self, scope: Scope, name: str) -> bool:
        """Return whether lengths are computed from shapes alone, or are a size of an input."""
        found = False
        for value, node in self.before(
            scope, name, lambda node: node.input if node.op_type in _OF_SHAPES else ()
        ):
            if node is not None and node.op_type == "Shape":
                found = True
            elif value not in scope.tensors and (
                node is None or node.op_type not in ("Constant", *_OF_SHAPES)
            ):
                return False
        if found:
            return True
        try:
            lengths = set(np.ravel(self.constants.value(scope, name)).tolist())
        except WeightsError:
            return False
        return len(lengths) == 1 and lengths <= scope.sizes

    def before(
        self, scope: Scope, name: str, followed: Callable[[Any], Iterable[str]]
    ) -> Iterator[tuple[str, Any]]:
        """Yield a value and those that it is made of, each with its node or None."""
        waiting, seen = [name], {name}
        while waiting:
            self._looks += 1
            if self._looks > _MOST_LOOKS:
                raise WeightsError(f"it has more than {_MOST_LOOKS} ways to GRUs: expected fewer")
            value = waiting.pop()
            node = scope.producers.get(value)
            yield value, node
            if node is not None:
                new = {held for held in followed(node) if held} - seen
                waiting += sorted(new)
                seen |= new


def layout(place: Place) -> int:
    """Return the position of time in the inputs of a node: 0 in ONNX's usual layout, else 1."""
    return int(get(attributes_of(place.node), "layout", "int", 0))
