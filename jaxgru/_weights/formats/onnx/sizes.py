"""The sizes that a graph reshapes values to: numbers, and axes of other values."""

from typing import Any, TypeAlias

from jaxgru._weights.errors import WeightsError, damaged, result_or_error, shown
from jaxgru._weights.formats.onnx.constants import MOST_STEPS, Constants
from jaxgru._weights.formats.onnx.graphs import Scope, attributes_of, get
from jaxgru._weights.formats.onnx.ways import origin
from jaxgru._weights.limits import MAX_AXES

Size: TypeAlias = "int | tuple[str, int] | None"  # a number, the axis of a value, or unknown
_PASSING = ("Unsqueeze", "Squeeze", "Cast", "Identity")


def sizes(constants: Constants, scope: Scope, name: str) -> list[Size]:
    """Return the sizes of a shape; raise WeightsError if they are not known."""
    with damaged("its shape does not fit", IndexError):
        return _sizes(constants, scope, name, 0)


def keeps_shape(scope: Scope, own: tuple[int | str | None, ...], target: list[Size]) -> bool:
    """Return whether a value, with these sizes if any are known, has those of a target already."""
    own = own or (None,) * len(target)
    fits = [_is_same(scope, *pair) for pair in zip(own, enumerate(target), strict=False)]
    return len(own) == len(target) and False not in fits and fits.count(None) < 2


def swaps(scope: Scope, target: list[Size]) -> bool:
    """Return whether a shape has the first two sizes of a value in the other order.

    A value is one whose sizes the graph computes, or an input of the model.
    """
    match target:
        case [(first, 1), (second, 0), *_]:
            return first == second
        case [int(first), int(second), *_]:
            return first != second and (second, first) in {
                scope.shapes.get(name, ())[:2] for name in scope.inputs
            }
    return False


def _is_same(scope: Scope, own: Any, placed: tuple[int, Size]) -> bool | None:
    """Return whether a size is that of an axis, None if it may be another."""
    axis, size = placed
    if isinstance(size, tuple):
        there = scope.shapes.get(size[0], ())[size[1] : size[1] + 1]
        return own == there[0] if own and there and there[0] else size[1] == axis
    if size is not None and size > 0 and isinstance(own, int):
        return own == size
    return True if size == 0 else None  # 0 copies a size, and -1 is any


def _sizes(constants: Constants, scope: Scope, name: str, steps: int) -> list[Size]:
    scope, name = origin(scope, name)
    node = scope.producers.get(name)
    if steps > MOST_STEPS or node is None or node.op_type == "Constant":
        return [int(size) for size in constants.value(scope, name).ravel()[:MAX_AXES]]
    if node.op_type == "Concat":
        found = [
            result_or_error(_sizes, constants, scope, str(held), steps + 1)
            for held in node.input[:MAX_AXES]
        ]
        parts = [[None] if isinstance(part, WeightsError) else part for part in found]
        return [size for part in parts for size in part]
    if node.op_type in _PASSING:
        return _sizes(constants, scope, str(node.input[0]), steps + 1)
    source = scope.producers.get(node.input[0]) if node.op_type in ("Gather", "Slice") else node
    if source is None or source.op_type != "Shape":
        raise WeightsError(f"{shown(name)} is not made of sizes")
    attributes, value = attributes_of(source), str(source.input[0])
    rank = len(scope.shapes.get(value, ())) or MAX_AXES
    first, last = get(attributes, "start", "int", 0), get(attributes, "end", "int", rank)
    axes = range(rank)[first:last]
    if node.op_type == "Shape":
        return [(value, axis) for axis in axes]
    numbers = [constants.value(scope, str(held)).ravel() for held in node.input[1:3]]
    if node.op_type == "Slice":
        return [(value, axis) for axis in axes[int(numbers[0][0]) : int(numbers[1][0])]]
    return [(value, axes[int(place)]) for place in numbers[0][:MAX_AXES]]
