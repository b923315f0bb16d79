"""What the nodes of a graph move, and where that comes from."""

from typing import Any

from jaxgru._weights.formats.onnx.graphs import Scope, is_standard

SAME = ("Identity", "Dropout", "Cast")
SELECTING = ("Slice", "Split", "Gather")
# They move values, and along which axes is not followed.
MOVING = (
    "Compress", "DepthToSpace", "Einsum", "Expand", "GatherElements", "GatherND", "If", "Pad",
    "Resize", "ScatterElements", "ScatterND", "SpaceToDepth", "Tile", "TopK", "Unique", "Where",
)  # fmt: skip
_SHAPING = ("Concat", "Flatten", "Reshape", "ReverseSequence", "Squeeze", "Transpose", "Unsqueeze")
_MOVES = frozenset({*SAME, *SELECTING, *MOVING, *_SHAPING})
# The inputs that hold what is moved, where it is not the first alone.
_DATA = {"Where": slice(1, 3), "ScatterElements": slice(0, 3, 2), "ScatterND": slice(0, 3, 2)}
_MOST = 200  # values on the way


def roots(scope: Scope, name: str) -> set[tuple[Scope, str]]:
    """Return the values that a value is moved from, without constants; none if they are many."""
    waiting = [origin(scope, name)]
    found: set[tuple[Scope, str]] = set()
    seen: set[tuple[Scope, str]] = set()
    while waiting and len(seen) < _MOST:
        place = waiting.pop()
        if place in seen or is_constant(*place):
            continue
        seen.add(place)
        node = place[0].producers.get(place[1])
        if node is not None and is_move(place[0], node):
            waiting += [origin(place[0], held) for held in data_of(node)]
        else:
            found.add(place)
    return set() if waiting else found


def are_given(scope: Scope, name: str) -> bool:
    """Return whether a value is moved from inputs of the model, or from all steps of a GRU."""
    found = [(held.producers.get(root), root) for held, root in roots(scope, name)]
    return any(
        node is None or (node.op_type == "GRU" and node.output[0] == root) for node, root in found
    )


def is_move(scope: Scope, node: Any) -> bool:
    """Return whether a node moves what it is given; an embedding is a layer, and a product."""
    if not is_standard(node) or node.op_type not in _MOVES or not node.input:
        return False
    if node.op_type == "Einsum":
        return len(node.input) == 1
    return not (node.op_type == "Gather" and is_constant(scope, str(node.input[0])))


def data_of(node: Any) -> list[str]:
    """Return the inputs of a node that hold values, and not where they go."""
    is_whole = node.op_type not in _MOVES or node.op_type == "Concat"
    names = node.input if is_whole else node.input[_DATA.get(node.op_type, slice(1))]
    return [str(name) for name in names if name]


def is_constant(scope: Scope, name: str) -> bool:
    """Return whether a value is in the model, perhaps in another type or transposed."""
    for _ in range(_MOST):
        scope, name = origin(scope, name)
        node = scope.producers.get(name)
        if node is None:
            return name in scope.tensors or name in scope.sparse
        if node.op_type == "Constant":
            return True
        if node.op_type not in (*SAME, "DequantizeLinear", "Transpose") or not node.input:
            return False
        name = str(node.input[0])
    return False


def origin(scope: Scope, name: str) -> tuple[Scope, str]:
    """Return where a value is made or given: perhaps outside of a subgraph or a function."""
    while name not in scope.producers:
        if name in scope.arguments:
            scope, name = scope.arguments[name]
        elif name in scope.inputs or name in scope.tensors or scope.outer is None:
            break
        else:
            scope = scope.outer
    return scope, name
