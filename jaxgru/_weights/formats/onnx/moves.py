"""One node on the way of a value, and the view that its output is."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.onnx.graphs import Scope, attributes_of, get
from jaxgru._weights.formats.onnx.sizes import Size, keeps_shape, sizes, swaps
from jaxgru._weights.formats.onnx.ways import MOVING, SAME, are_given, is_move, roots
from jaxgru._weights.limits import MAX_AXES

if TYPE_CHECKING:
    from jaxgru._weights.formats.onnx.views import Views

# The axes of the outputs of a GRU; those of other values are their positions, which are smaller.
# The complement of an axis (~TIME) is that axis reversed.
TIME, SIDE, BATCH, UNITS, ONE = range(1000, 1005)
_FAR = 10**9  # beyond the end of any axis, as tf2onnx writes it
_MERGES = {"Concat": "concat", "Add": "sum", "Sum": "sum", "Mul": "mul"}


class View(NamedTuple):
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


class Move:
    """One node on the way, and the view that its output is."""

    def __init__(
        self, views: "Views", scope: Scope, node: Any, output: str, rank: int, steps: int
    ) -> None:
        self._views, self._scope, self._node, self._output = views, scope, node, output
        self._rank, self._steps = rank, steps
        self._attributes = attributes_of(node)

    def view(self) -> View | None:
        """Return the view; None if the way begins here."""
        op_type = self._node.op_type
        if op_type in ("ReverseSequence", "Gather", "Div") and len(self._node.input) < 2:
            return None
        if op_type in SAME:
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
        op_type, is_moved = self._node.op_type, is_move(self._scope, self._node)
        if op_type in ("Expand", "Tile"):  # of a state, it is a layer
            is_moved = are_given(self._scope, str(self._node.input[0]))
        elif op_type in ("Reshape", "Flatten"):
            is_moved = self._mixes()
        if is_moved and op_type in (*MOVING, "Reshape", "Flatten"):
            yield from range(self._rank)
        elif op_type == "Concat" and self._rank:
            axis = get(self._attributes, "axis", "int", 0) % self._rank
            # What joins the features of several is a layer.
            if axis != self._rank - 1 or len(roots(self._scope, self._output)) == 1:
                yield axis

    def _mixes(self) -> bool:
        """Return whether a reshape, which is not followed, is seen to mix axes."""
        name = str(self._node.input[0])
        is_as_many = len(self._scope.shapes.get(name, ())) == self._rank
        return is_as_many or swaps(self._scope, self._target()) or are_given(self._scope, name)

    def _shape(self, rank: int) -> tuple[int | str | None, ...]:
        """Return the sizes of the first input as far as the graph shows them."""
        declared = self._scope.shapes.get(str(self._node.input[0]))
        view = self._input(0, rank)
        if declared or view is None or view.parts:
            return declared or ()
        known = dict(enumerate(view.source[0].shapes.get(view.source[1], ())))
        return tuple(
            None if axis in view.touched else known.get(axis)
            for axis in (max(axis, ~axis) for axis in view.axes)
        )

    def _target(self) -> list[Size]:
        """Return the sizes that the node reshapes to, none if they are not known."""
        try:
            target = sizes(self._views.constants, self._scope, str(self._node.input[1]))
        except (WeightsError, IndexError):
            return []
        is_literal = get(self._attributes, "allowzero", "int", 0)
        return [] if is_literal and 0 in target else target

    def _input(self, index: int, rank: int) -> View | None:
        name = str(self._node.input[index]) if index < len(self._node.input) else ""
        return self._views.view(self._scope, name, max(rank, 0), self._steps) if name else None

    def _numbers(self, index: int, name: str) -> list[int] | None:
        """Return a parameter, which is an attribute or since later versions an input."""
        if name in self._attributes:
            return get(self._attributes, name, "ints")  # type: ignore[no-any-return]
        if index >= len(self._node.input) or not self._node.input[index]:
            return None
        value = self._views.constants.value(self._scope, str(self._node.input[index]))
        if value.dtype.kind != "i":
            raise WeightsError(f"{name} is {value.dtype}: expected integers")
        return [int(number) for number in value.ravel()[:MAX_AXES]]

    def _transposed(self) -> View | None:
        view = self._input(0, self._rank)
        if view is None:
            return None
        order = get(self._attributes, "perm", "ints") or range(len(view.axes))[::-1]
        if sorted(order) != list(range(len(view.axes))):
            return None
        return view._replace(axes=tuple(view.axes[axis] for axis in order))

    def _squeezed(self) -> View | None:
        dropped = self._numbers(1, "axes") or []
        view = self._input(0, self._rank + len(dropped) if self._rank else 0)
        if view is None or not dropped:
            return None
        gone = {axis % len(view.axes) for axis in dropped}
        axes = tuple(label for axis, label in enumerate(view.axes) if axis not in gone)
        return view._replace(axes=axes)

    def _unsqueezed(self) -> View | None:
        added = self._numbers(1, "axes") or []
        view = self._input(0, self._rank - len(added) if self._rank else 0)
        if view is None:
            return None
        axes, rank = list(view.axes), len(view.axes) + len(added)
        for axis in sorted(axis % rank for axis in added):
            axes.insert(axis, ONE if view.parts else rank + axis)
        return view._replace(axes=tuple(axes))

    def _reshaped(self) -> View | None:
        """Return the view that has one axis for both sides and the units, or the same shape."""
        target = self._target()
        view = self._input(0, 0)
        is_of_rank = view is None or len(view.axes) == len(target)
        if target and is_of_rank and keeps_shape(self._scope, self._shape(len(target)), target):
            return self._input(0, len(target) if self._rank else 0)
        if view is None or len(view.axes) != 4 or view.axes[3] != UNITS:
            return None
        match self._scope.shapes.get(str(self._node.input[0])):
            case first, second, int(sides), int(units):
                own = (first, second, sides * units)
                is_kept = keeps_shape(self._scope, own, target)
            case _:
                is_kept = False
        try:
            shape = self._numbers(1, "shape") or []
        except WeightsError:
            shape = [0, 0, -1]  # a computed shape, as for a batch and a time of any size
        if len(shape) != 3:
            return None
        if view.axes[2] in (SIDE, ONE) and (is_kept or shape[0] != -1 != shape[1]):
            merge = "concat" if view.axes[2] == SIDE else view.merge
            return view._replace(axes=(*view.axes[:2], UNITS), merge=merge)
        if view.axes[1] == ONE and shape[1] != 0 and shape[2] > 0:
            return view._replace(axes=(view.axes[0], *view.axes[2:]))
        return None

    def _reversed(self) -> View | None:
        view = self._input(0, self._rank)
        axis = get(self._attributes, "time_axis", "int", 0)
        if view is None or not 0 <= axis < len(view.axes):
            return None
        lengths = str(self._node.input[1])
        if not self._views.is_full(self._scope, lengths):
            view = view._replace(lengths=view.lengths ^ {lengths})
        return view._replace(axes=_turned(view.axes, axis))

    def _sliced(self) -> View | None:
        view = self._input(0, self._rank)
        starts, ends = self._numbers(1, "starts"), self._numbers(2, "ends")
        if view is None or starts is None or ends is None:
            return None
        axes = self._numbers(3, "axes") or list(range(len(starts)))
        steps = self._numbers(4, "steps") or [1] * len(starts)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=False):
            axis %= len(view.axes)
            both = 2 * self._size_of_side(view, axis)
            bounds = [min(at + both if at < 0 else at, both) for at in (start, end)]
            if step == -1 and (start == -1 or start >= _FAR) and end <= -_FAR:
                if view.axes[axis] == SIDE:
                    view = view._replace(parts=view.parts[::-1])
                else:
                    view = view._replace(axes=_turned(view.axes, axis))
            elif step == 1 and both and bounds in ([0, both // 2], [both // 2, both]):
                view = _one_side(view, axis, int(bounds[1] == both))
            elif not (step == 1 and start == 0 and end >= _FAR):
                view = self._with_touched(view, axis)
        return view

    def _size_of_side(self, view: View, axis: int) -> int:
        """Return the size of a direction along an axis that has both of one node, else 0."""
        if view.axes[axis] == SIDE:
            return 1
        names = [name for name, _ in view.parts]
        if view.axes[axis] != UNITS or view.merge != "concat" or names != names[:1] * 2:
            return 0
        node = self._views.grus[names[0]][0].node
        return int(get(attributes_of(node), "hidden_size", "int", 0))

    def _split(self) -> View | None:
        view = self._input(0, self._rank)
        if view is None:
            return None
        axis = get(self._attributes, "axis", "int", 0) % len(view.axes)
        outputs, size = list(self._node.output), self._size_of_side(view, axis)
        if size and len(outputs) == 2 and self._numbers(1, "split") in (None, [size] * 2):
            return _one_side(view, axis, outputs.index(self._output))
        return self._with_touched(view, axis)

    def _gathered(self) -> View | None:
        if not is_move(self._scope, self._node):
            return None  # an embedding
        try:
            index = self._views.constants.value(self._scope, str(self._node.input[1]))
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
            if view.axes[axis] == SIDE and -2 <= side < 2:
                view = _one_side(view, axis, side % 2)
            elif view.axes[axis] != ONE or not view.parts:
                return None  # one step
            axes = view.axes if index.ndim else (*view.axes[:axis], *view.axes[axis + 1 :])
            return view._replace(axes=axes)
        return self._with_touched(view, axis)

    def _joined(self) -> View | None:
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
            if not -len(one.axes) <= axis < len(one.axes) or one.axes[axis] != UNITS:
                return None
        return one._replace(parts=one.parts + other.parts, merge=_MERGES[op_type])

    def _halved(self) -> View | None:
        """Return the average of two directions, which is their sum by 2."""
        views = [self._input(index, 0) for index in (0, 1)]
        view = views[0] or views[1]
        factor = str(self._node.input[1 if views[0] else 0])
        if view is None or view.merge != "sum":
            return None
        number = self._views.constants.value(self._scope, factor)
        expected = 2 if self._node.op_type == "Div" and views[0] else 0.5
        if number.size != 1 or not math.isclose(float(number.ravel()[0]), expected):
            return None
        return view._replace(merge="ave")

    def _with_touched(self, view: View, axis: int) -> View:
        label = max(view.axes[axis], ~view.axes[axis])
        return view._replace(touched={**view.touched, label: self._node})


def _turned(axes: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*axes[:axis], ~axes[axis], *axes[axis + 1 :])


def _one_side(view: View, axis: int, side: int) -> View:
    label = ONE if view.axes[axis] == SIDE else UNITS
    axes = (*view.axes[:axis], label, *view.axes[axis + 1 :])
    return view._replace(axes=axes, parts=(view.parts[side],))
