"""What a graph does between GRU nodes, its inputs and its outputs: order of time, joins, stacks.

Each value on the way is described by the axes of the value that it is made of. So an input that is
reversed makes a forward node one that runs backward, and outputs that are joined are those of both
directions. What only computes features, such as a MatMul, is another layer, where the way ends.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.onnx.constants import Constants, described
from jaxgru._weights.formats.onnx.graphs import Place, Scope, attributes_of, get, is_standard
from jaxgru._weights.limits import MAX_AXES

# The axes of the outputs of a GRU; those of other values are their positions, which are smaller.
# The complement of an axis (~TIME) is that axis reversed.
_TIME, _SIDE, _BATCH, _UNITS, _ONE = range(1000, 1005)
_MOST_STEPS = 50
_MOST_LOOKS = 2**18  # at the nodes before GRUs, of which a model has 75,000 at most, see wire.py
_FAR = 2**31 - 1  # the end of any axis
_SAME = ("Identity", "Dropout", "Cast")
# They move values, and along which axes is not followed.
_MOVING = ("Pad", "Tile", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Resize")
_SELECTING = ("Slice", "Split", "Gather")
_MERGES = {"Concat": "concat", "Add": "sum", "Sum": "sum", "Mul": "mul"}
_OF_SHAPES = ("Concat", "Expand", "Tile", "ConstantOfShape", "Reshape", *_SAME, *_SELECTING)


class Wired(NamedTuple):
    """How a GRU node, or a pair of them, is wired."""

    goes_back: bool = False  # whether its first step is the last one of the model's
    inputs: str | None = None  # see Found
    merge: str | None = None  # how the graph joins both directions; None: it does not show it
    notes: tuple[str, ...] = ()
    partner: str | None = None  # the node of the other direction of the same layer, joined second


class _View(NamedTuple):
    """A value as axes of another value: of a GRU, or of one that the way begins at."""

    source: tuple[Scope, str]
    axes: tuple[int, ...]
    parts: tuple[tuple[str, int], ...] = ()  # node and side, if it is made by GRUs
    merge: str | None = None
    touched: Mapping[int, Any] = {}  # by axis, the node that changed what is along it
    lengths: frozenset[str] = frozenset()  # what gives the number of steps that are reversed

    def along(self, axis: int) -> Any:
        """Return the node that changed what is along an axis, None if there is none."""
        return self.touched.get(max(self.axes[axis], ~self.axes[axis]))


class Flow:
    """The ways of values in a model, given its sound GRU nodes by name with their directions."""

    def __init__(self, grus: Mapping[str, tuple[Place, str]], constants: Constants) -> None:
        self._grus = grus
        self._constants = constants
        self._names = {
            (id(place.scope), place.node.output[0]): name
            for name, (place, _) in grus.items()
            if place.node.output and place.node.output[0]
        }
        self._views: dict[tuple[int, str, int], _View | None] = {}
        self._in_order: set[tuple[int, str]] = set()  # values before which nothing is reversed
        self._looks = 0

    def wired(self, name: str) -> Wired:
        """Return how a node is wired; for the first node of a pair, how the pair is."""
        inputs = self._inputs(name)
        ends, notes = list(self._ends(name)), list(self._notes_on_inputs(name, inputs))
        joins = _joins(ends)
        alone: tuple[tuple[tuple[str, int], ...], str | None] = ((), None)
        parts, merge = next(iter(joins)) if len(joins) == 1 else alone
        for end in ends:
            notes += self._notes_on_outputs(*end)
        goes_back = self._goes_back(name, inputs)
        wired = Wired(goes_back, self._named(name, inputs), merge, tuple(dict.fromkeys(notes)))
        if len({held for held, _ in parts}) < 2:
            return wired
        other = next(held for held, _ in parts if held != name)
        is_pair = (
            self._runs_back(name) != self._runs_back(other)
            and _joins(self._ends(other)) == {(parts, merge)}
            and inputs is not None
            and (view := self._inputs(other)) is not None
            and (view.source, view.parts, view.touched) == (
                inputs.source, inputs.parts, inputs.touched)
        )  # fmt: skip
        is_first = parts[0][0] == name
        return wired._replace(
            merge=merge if is_pair else None, partner=other if is_pair and is_first else None
        )

    def _inputs(self, name: str) -> _View | None:
        place = self._grus[name][0]
        return self._whole(self._view(place.scope, str(place.node.input[0]), 3))

    def _whole(self, view: _View | None) -> _View | None:
        return view if view is not None and len(view.axes) == 3 else None

    def _goes_back(self, name: str, inputs: _View | None) -> bool:
        return inputs is not None and inputs.axes[_layout(self._grus[name][0])] < 0

    def _runs_back(self, name: str) -> bool:
        is_reverse = self._grus[name][1] == "reverse"
        return self._goes_back(name, self._inputs(name)) != is_reverse

    def _named(self, name: str, view: _View | None) -> str | None:
        """Return what the inputs of a GRU are, see Found."""
        if view is None:
            return None
        time = _layout(self._grus[name][0])
        made_by = view.along(time) or view.along(2)
        if made_by is not None:
            return f"the outputs of {described(made_by)}"
        if view.parts:
            places = (view.axes[time], view.axes[1 - time], view.axes[2])
            names = list(dict.fromkeys(held for held, _ in view.parts))
            if places not in ((_TIME, _BATCH, _UNITS), (~_TIME, _BATCH, _UNITS)):
                return f"no sequence of {names[0]} in the order of time"
            whole = 2 if len(names) > 1 or self._grus[names[0]][1] == "bidirectional" else 1
            return ",".join(names) if len(view.parts) == whole else f"one direction of {names[0]}"
        scope, value = view.source
        if value not in scope.producers:
            return "those of the model"
        node = scope.producers[value]
        if not is_standard(node) or node.op_type == "Reshape":
            return None
        return f"the outputs of {described(node)}"

    def _notes_on_inputs(self, name: str, view: _View | None) -> Iterator[str]:
        if view is None:
            return
        place = self._grus[name][0]
        time, given = _layout(place), str((*place.node.input, *[""] * 4)[4])
        for axis, what in ((time, "steps"), (2, "features")):
            node = view.along(axis)
            if node is not None and (what == "steps" or node.op_type != "Concat"):
                yield (
                    f"in the graph, {described(node)} changes the {what} of its inputs: give the "
                    "GRU what that computes"
                )
        for axis, what in ((1 - time, "batch"), (2, "features")):
            if view.axes[axis] < 0:
                yield f"the graph reverses the {what} of its inputs: do so before"
        has_lengths = given and not self._is_full(place.scope, given)
        if view.lengths - {given}:
            yield (
                f"the graph reverses only as many steps as {shown(min(view.lengths))} says: give "
                "this as lengths"
            )
        elif view.axes[time] < 0 and has_lengths and not view.lengths:
            yield "the graph reverses its inputs with their padding: lengths mean other steps then"
        if not view.parts:
            node = self._reversing(*view.source)
            if node is not None:
                yield (
                    f"in the graph, {described(node)} reverses what the inputs are computed from: "
                    "give the GRU what the graph gives it"
                )

    def _notes_on_outputs(self, view: _View, user: Any) -> Iterator[str]:
        by = described(user) if user is not None else "an output"
        if user is not None and user.op_type == "GRU":  # see its own inputs
            return
        if ~_TIME in view.axes:
            yield (
                f"the outputs reach {by} of the graph in the reversed order of time: reverse the "
                "steps of ys for the same"
            )
        if ~_UNITS in view.axes or ~_BATCH in view.axes:
            yield f"the outputs reach {by} of the graph in another order: reorder ys for the same"
        moved = view.touched.get(_TIME)
        if moved is not None and moved.op_type in ("Slice", "Split"):
            moved = None  # some of the steps
        if user is not None and user.op_type in _MOVING:
            moved = user
        elif user is not None and user.op_type == "Concat":
            axis = get(attributes_of(user), "axis", "int", 0)
            if view.axes[axis : axis + 1 or None] in ((_TIME,), (~_TIME,)):
                moved = user
        if moved is not None:
            yield (
                f"in the graph, {described(moved)} changes the steps of the outputs: do so with "
                "ys for the same"
            )

    def _ends(self, name: str) -> Iterator[tuple[_View, Any]]:
        """Yield the views of the outputs of a GRU, each with the node that computes with it."""
        place = self._grus[name][0]
        waiting = [str(output) for output in place.node.output[:1] if output]
        seen = set(waiting)
        while waiting:
            value = waiting.pop()
            view = self._view(place.scope, value, 0)
            if view is None:
                continue
            if value in place.scope.outputs:
                yield view, None
            for user in place.scope.users.get(value, ()):
                if user.op_type == "Shape":
                    continue
                made = [output for output in user.output if output]
                views = [self._view(place.scope, output, 0) for output in made]
                is_on = user.op_type != "GRU" and all(
                    made is not None and any(held == name for held, _ in made.parts)
                    for made in views
                )
                if not is_on:
                    yield view, user
                    continue
                waiting += [output for output in made if output not in seen]
                seen.update(made)

    def _view(self, scope: Scope, name: str, rank: int, steps: int = 0) -> _View | None:
        """Return a value of so many axes as a view of another, 0 if that is unknown."""
        while name not in scope.producers:
            if name in scope.arguments:
                scope, name = scope.arguments[name]
            elif name in scope.inputs or name in scope.tensors or scope.outer is None:
                return _View((scope, name), tuple(range(rank))) if 0 < rank <= MAX_AXES else None
            else:
                scope = scope.outer
        key = (id(scope), name, rank)
        if key not in self._views:
            self._views[key] = None  # of a value that is made of itself
            view = self._made(scope, name, rank, steps + 1)
            if view is not None and 0 < len(view.axes) <= MAX_AXES:
                self._views[key] = view
        return self._views[key]

    def _made(self, scope: Scope, name: str, rank: int, steps: int) -> _View | None:
        node = scope.producers[name]
        gru = self._names.get((id(scope), name))
        if steps > _MOST_STEPS:
            return None
        if gru is not None:
            return self._of_gru(gru, steps)
        start = _View((scope, name), tuple(range(rank))) if 0 < rank <= MAX_AXES else None
        if not is_standard(node) or not node.input:
            return start
        try:
            move = _Move(self, scope, node, name, rank, steps)
            return move.view() or (
                start and start._replace(touched=dict.fromkeys(move.touched(), node))
            )
        except WeightsError:  # parameters that are computed, or wrong
            touched = range(rank) if node.op_type in _SELECTING else ()
            return start and start._replace(touched=dict.fromkeys(touched, node))

    def _of_gru(self, name: str, steps: int) -> _View:
        place, direction = self._grus[name]
        inputs = self._whole(self._view(place.scope, str(place.node.input[0]), 3, steps))
        time = ~_TIME if self._goes_back(name, inputs) else _TIME
        sides = 2 if direction == "bidirectional" else 1
        side = _SIDE if sides == 2 else _ONE
        axes = (_BATCH, time, side, _UNITS) if _layout(place) else (time, side, _BATCH, _UNITS)
        parts = tuple((name, number) for number in range(sides))
        return _View((place.scope, str(place.node.output[0])), axes, parts)

    def _is_full(self, scope: Scope, name: str) -> bool:
        """Return whether lengths are computed from shapes alone, or are a size of an input."""
        found = False
        for value, node in self._before(scope, name, lambda node: node.op_type in _OF_SHAPES):
            if node is not None and node.op_type == "Shape":
                found = True
            elif value not in scope.tensors and (
                node is None or node.op_type not in ("Constant", *_OF_SHAPES)
            ):
                return False
        if found:
            return True
        try:
            lengths = set(np.ravel(self._constants.value(scope, name)).tolist())
        except WeightsError:
            return False
        return len(lengths) == 1 and lengths <= scope.sizes

    def _reversing(self, scope: Scope, name: str) -> Any:
        """Return the first node before a value that reverses an order, None if there is none."""

        def goes_on(node: Any) -> bool:
            is_new = (id(scope), node.output[0]) not in self._in_order
            return is_new and is_standard(node) and node.op_type != "GRU"

        found = set()
        for value, node in self._before(scope, name, goes_on):
            if node is not None and is_standard(node) and self._steps_back(scope, node):
                return node
            found.add((id(scope), value))
        self._in_order |= found
        return None

    def _before(
        self, scope: Scope, name: str, goes_on: Callable[[Any], bool]
    ) -> Iterator[tuple[str, Any]]:
        """Yield a value and those that it is computed from, each with its node or None."""
        waiting, seen = [name], {name}
        while waiting:
            self._looks += 1
            if self._looks > _MOST_LOOKS:
                raise WeightsError(f"it has more than {_MOST_LOOKS} ways to GRUs: expected fewer")
            value = waiting.pop()
            node = scope.producers.get(value)
            yield value, node
            if node is not None and goes_on(node):
                new = {held for held in node.input if held} - seen
                waiting += sorted(new)
                seen |= new

    def _steps_back(self, scope: Scope, node: Any) -> bool:
        if node.op_type != "Slice" or len(node.input) < 5:
            return bool(node.op_type == "ReverseSequence")
        try:
            return bool(np.any(self._constants.value(scope, node.input[4]) < 0))
        except WeightsError:
            return False


class _Move:
    """One node on the way, and the view that its output is."""

    def __init__(
        self, flow: Flow, scope: Scope, node: Any, output: str, rank: int, steps: int
    ) -> None:
        self._flow, self._scope, self._node, self._output = flow, scope, node, output
        self._rank, self._steps = rank, steps
        self._attributes = attributes_of(node)

    def view(self) -> _View | None:
        """Return the view; None if the way begins here."""
        op_type = self._node.op_type
        if op_type in ("ReverseSequence", "Gather", "Div") and len(self._node.input) < 2:
            return None
        if op_type in _SAME:
            return self._input(0, self._rank) if self._output == self._node.output[0] else None
        known = {
            "Transpose": self._transposed, "Squeeze": self._squeezed, "Unsqueeze": self._unsqueezed,
            "Reshape": self._reshaped, "ReverseSequence": self._reversed, "Slice": self._sliced,
            "Split": self._split, "Gather": self._gathered, "Div": self._halved,
        }  # fmt: skip
        if op_type in known:
            return known[op_type]()
        return self._joined() if op_type in _MERGES else None

    def touched(self) -> Iterator[int]:
        """Yield the axes along which a node, which the way begins at, moves values."""
        if self._node.op_type in _MOVING:
            yield from range(self._rank)
        elif self._node.op_type == "Concat" and self._rank:
            yield get(self._attributes, "axis", "int", 0) % self._rank

    def _input(self, index: int, rank: int) -> _View | None:
        name = str(self._node.input[index]) if index < len(self._node.input) else ""
        return self._flow._view(self._scope, name, max(rank, 0), self._steps) if name else None

    def _numbers(self, index: int, name: str) -> list[int] | None:
        """Return a parameter, which is an attribute or since later versions an input."""
        if name in self._attributes:
            return get(self._attributes, name, "ints")  # type: ignore[no-any-return]
        if index >= len(self._node.input) or not self._node.input[index]:
            return None
        value = self._flow._constants.value(self._scope, str(self._node.input[index]))
        if value.dtype.kind != "i":
            raise WeightsError(f"{name} is {value.dtype}: expected integers")
        return [int(number) for number in value.ravel()[:MAX_AXES]]

    def _transposed(self) -> _View | None:
        view = self._input(0, self._rank)
        if view is None:
            return None
        order = get(self._attributes, "perm", "ints") or range(len(view.axes))[::-1]
        if sorted(order) != list(range(len(view.axes))):
            return None
        return view._replace(axes=tuple(view.axes[axis] for axis in order))

    def _squeezed(self) -> _View | None:
        dropped = self._numbers(1, "axes") or []
        view = self._input(0, self._rank + len(dropped) if self._rank else 0)
        if view is None or not dropped:
            return None
        gone = {axis % len(view.axes) for axis in dropped}
        axes = tuple(label for axis, label in enumerate(view.axes) if axis not in gone)
        return view._replace(axes=axes)

    def _unsqueezed(self) -> _View | None:
        added = self._numbers(1, "axes") or []
        view = self._input(0, self._rank - len(added) if self._rank else 0)
        if view is None:
            return None
        axes, rank = list(view.axes), len(view.axes) + len(added)
        for axis in sorted(axis % rank for axis in added):
            axes.insert(axis, _ONE if view.parts else rank + axis)
        return view._replace(axes=tuple(axes))

    def _reshaped(self) -> _View | None:
        """Return the view that has one axis for both sides and the units."""
        view = self._input(0, 0)
        if view is None or len(view.axes) != 4 or view.axes[3] != _UNITS:
            return None
        try:
            shape = self._numbers(1, "shape") or []
        except WeightsError:
            shape = [0, 0, -1]  # a computed shape, as for a batch and a time of any size
        if len(shape) != 3:
            return None
        if view.axes[2] in (_SIDE, _ONE) and shape[0] != -1 != shape[1]:
            merge = "concat" if view.axes[2] == _SIDE else view.merge
            return view._replace(axes=(*view.axes[:2], _UNITS), merge=merge)
        if view.axes[1] == _ONE and shape[1] != 0 and shape[2] > 0:
            return view._replace(axes=(view.axes[0], *view.axes[2:]))
        return None

    def _reversed(self) -> _View | None:
        view = self._input(0, self._rank)
        axis = get(self._attributes, "time_axis", "int", 0)
        if view is None or not 0 <= axis < len(view.axes):
            return None
        lengths = str(self._node.input[1])
        if not self._flow._is_full(self._scope, lengths):
            view = view._replace(lengths=view.lengths ^ {lengths})
        return view._replace(axes=_turned(view.axes, axis))

    def _sliced(self) -> _View | None:
        view = self._input(0, self._rank)
        starts, ends = self._numbers(1, "starts"), self._numbers(2, "ends")
        if view is None or starts is None or ends is None:
            return None
        axes = self._numbers(3, "axes") or list(range(len(starts)))
        steps = self._numbers(4, "steps") or [1] * len(starts)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=False):
            axis %= len(view.axes)
            if step == -1 and (start == -1 or start >= _FAR) and end <= -_FAR:
                view = view._replace(axes=_turned(view.axes, axis))
            elif view.axes[axis] == _SIDE and step == 1 and (start, end) in ((0, 1), (1, 2)):
                view = _one_side(view, axis, start)
            elif not (step == 1 and start == 0 and end >= _FAR):
                view = self._with_touched(view, axis)
        return view

    def _split(self) -> _View | None:
        view = self._input(0, self._rank)
        if view is None:
            return None
        axis = get(self._attributes, "axis", "int", 0) % len(view.axes)
        outputs = list(self._node.output)
        if view.axes[axis] == _SIDE and len(outputs) == 2:
            return _one_side(view, axis, outputs.index(self._output))
        return self._with_touched(view, axis)

    def _gathered(self) -> _View | None:
        name = str(self._node.input[0])
        table = self._scope.producers.get(name)
        if name in self._scope.tensors or (table is not None and table.op_type == "Constant"):
            return None  # an embedding
        try:
            index = self._flow._constants.value(self._scope, str(self._node.input[1]))
        except WeightsError:
            index = np.zeros(2, int)  # several, which are not known
        if index.dtype.kind != "i":
            return None
        view = self._input(0, self._rank + (index.ndim == 0) if self._rank else 0)
        if view is None or index.ndim > 1:
            return None
        axis = get(self._attributes, "axis", "int", 0) % len(view.axes)
        if index.size == 1:
            side = int(index.ravel()[0])
            if view.axes[axis] == _SIDE and -2 <= side < 2:
                view = _one_side(view, axis, side % 2)
            elif view.axes[axis] != _ONE or not view.parts:
                return None  # one step
            axes = view.axes if index.ndim else (*view.axes[:axis], *view.axes[axis + 1 :])
            return view._replace(axes=axes)
        return self._with_touched(view, axis)

    def _joined(self) -> _View | None:
        op_type, views = self._node.op_type, [self._input(index, 0) for index in (0, 1)]
        if len(self._node.input) != 2:
            return None
        one, other = views
        if op_type == "Mul" and (one is None) != (other is None):
            return self._halved()
        if one is None or other is None or len(one.parts) + len(other.parts) != 2:
            return None
        if not (one.parts and other.parts) or (one.axes, one.touched) != (other.axes, {}):
            return None
        if one.lengths != other.lengths or one.parts == other.parts:
            return None
        if op_type == "Concat":
            axis = get(self._attributes, "axis", "int", 0)
            if not -len(one.axes) <= axis < len(one.axes) or one.axes[axis] != _UNITS:
                return None
        return one._replace(parts=one.parts + other.parts, merge=_MERGES[op_type])

    def _halved(self) -> _View | None:
        """Return the average of two directions, which is their sum by 2."""
        views = [self._input(index, 0) for index in (0, 1)]
        view = views[0] or views[1]
        factor = str(self._node.input[1 if views[0] else 0])
        if view is None or view.merge != "sum":
            return None
        number = self._flow._constants.value(self._scope, factor)
        expected = 2 if self._node.op_type == "Div" and views[0] else 0.5
        if number.size != 1 or not math.isclose(float(number.ravel()[0]), expected):
            return None
        return view._replace(merge="ave")

    def _with_touched(self, view: _View, axis: int) -> _View:
        label = max(view.axes[axis], ~view.axes[axis])
        return view._replace(touched={**view.touched, label: self._node})


def _joins(ends: Iterable[tuple[_View, Any]]) -> set[tuple[Any, str | None]]:
    """Return how the outputs are joined, by what computes with them; Y of both sides is not."""
    return {(view.parts, view.merge) for view, _ in ends if view.merge or len(view.parts) == 1}


def _layout(place: Place) -> int:
    """Return the position of time in the inputs of a node: 0 in ONNX's usual layout, else 1."""
    return int(get(attributes_of(place.node), "layout", "int", 0))


def _turned(axes: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*axes[:axis], ~axes[axis], *axes[axis + 1 :])


def _one_side(view: _View, axis: int, side: int) -> _View:
    axes = (*view.axes[:axis], _ONE, *view.axes[axis + 1 :])
    return view._replace(axes=axes, parts=(view.parts[side],))
