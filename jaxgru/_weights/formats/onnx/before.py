"""What a graph does before the inputs of its GRUs: layers, other arithmetic, orders, layouts."""

import re
from typing import Any

import numpy as np

from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.onnx.constants import MOST_STEPS
from jaxgru._weights.formats.onnx.graphs import Scope, is_standard
from jaxgru._weights.formats.onnx.moves import View
from jaxgru._weights.formats.onnx.sizes import sizes, swaps
from jaxgru._weights.formats.onnx.views import Views
from jaxgru._weights.formats.onnx.ways import SELECTING, data_of, is_constant, is_move, origin

# Before a GRU they are layers, whose outputs a user expects to give it.
_LAYERS = frozenset(
    {
        *("Attention", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "Einsum"),
        *("GRU", "Gemm", "GroupNormalization", "If", "InstanceNormalization", "LSTM"),
        *("LayerNormalization", "Loop", "MatMul", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
        *("RMSNormalization", "RNN", "Scan"),
    }
)
# Their outputs have the axes of what they are given, in its order.
_KEEPING = frozenset(
    {
        *("Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Conv", "Div", "Elu", "Erf"),
        *("Exp", "Gelu", "HardSigmoid", "HardSwish", "InstanceNormalization", "LayerNormalization"),
        *("LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg"),
        *("PRelu", "Pow", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus"),
        *("Softsign", "Sqrt", "Sub", "Tanh"),
    }
)
_OF_TIME = re.compile("time|seq|step|len|frame|^[tl]$")
_OF_BATCH = re.compile("batch|^bs?$|^n$")


class Before:
    """The nodes before the GRUs of a model."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._in_order: set[tuple[int, str]] = set()  # values before which nothing is reversed
        self._hidden: dict[int, set[str]] = {}  # by scope, the values that a layer has made

    def computing(self, view: View) -> Any:
        """Return the node that computes inputs of a GRU from those of the model, None for a layer.

        A view does not go across it. What joins features of several values is a layer.
        """
        scope, name = view.source
        node = scope.producers.get(name)
        if node is None or node.op_type == "Concat" or is_constant(scope, name):
            return None
        return None if self._is_hidden(scope, name) else node

    def time_major(self, view: View, time: int) -> tuple[str, int, list[Any]] | None:
        """Return the input with steps before sequences, unless the names of its axes say so.

        With it are the axis of the steps and the sizes.
        """
        seen = self._of_input(view)
        if seen is None:
            return None
        scope, name = seen.source
        axes = [max(axis, ~axis) for axis in seen.axes]
        steps, batch = axes[time], axes[1 - time]
        known = scope.shapes.get(name, ())
        if not (scope.is_main and steps < batch < min(axes[2], len(known))):
            return None
        first, second = (str(known[axis]).lower() for axis in (steps, batch))
        is_named = bool(_OF_TIME.search(first) or _OF_BATCH.search(second))
        if (is_named and not _OF_BATCH.search(first)) or known[steps] == known[batch] == 1:
            return None
        return name, steps, list(known)

    def _of_input(self, view: View) -> View | None:
        """Return the view of an input of the model, also across layers that keep its axes."""
        for _ in range(MOST_STEPS):
            scope, name = view.source
            node = scope.producers.get(name)
            if node is None:
                return view if name in scope.inputs else None
            if not is_standard(node) or view.parts:
                return None
            rank = len(view.axes)
            if _is_embedding(scope, node):
                data, rank = str(node.input[1]), rank - 1  # an embedding
            elif node.op_type in _KEEPING:
                own = [held for held in data_of(node) if not is_constant(scope, held)]
                if not own or (node.op_type == "MatMul" and own != [node.input[0]]):
                    return None
                data = own[0]
            else:
                return None
            inner = self._views.view(scope, data, rank)
            if inner is None or len(inner.axes) != rank:
                return None
            axes = {axis: inner.axes[axis] if axis < rank else axis for axis in range(rank + 1)}
            if any(max(axis, ~axis) not in axes for axis in view.axes):
                return None
            placed = (axes[axis] if axis >= 0 else ~axes[~axis] for axis in view.axes)
            view = inner._replace(axes=tuple(placed))
        return None

    def _is_hidden(self, scope: Scope, name: str) -> bool:
        scope, name = origin(scope, name)
        if id(scope) not in self._hidden:
            # In the order of the nodes, in which each comes after what it is given.
            hidden = self._hidden[id(scope)] = set()
            for output, node in scope.producers.items():
                given = map(str, filter(None, node.input))
                if _is_layer(scope, node) or any(self._is_hidden(scope, held) for held in given):
                    hidden.add(output)
        return name in self._hidden[id(scope)]

    def reordering(self, scope: Scope, name: str) -> Any:
        """Return the first node before a value that changes an order, None if there is none."""

        def follow(node: Any) -> list[str]:
            is_new = (id(scope), node.output[0]) not in self._in_order
            return data_of(node) if is_new and is_standard(node) and node.op_type != "GRU" else []

        found = set()
        for value, node in self._views.before(scope, name, follow):
            if node is not None and is_move(scope, node) and self._reorders(scope, node):
                return node
            found.add((id(scope), value))
        self._in_order |= found
        return None

    def _reorders(self, scope: Scope, node: Any) -> bool:
        """Return whether a node reverses, permutes or rolls what it is given."""
        try:
            if node.op_type == "Slice" and len(node.input) > 4:
                return bool(np.any(self._views.constants.value(scope, node.input[4]) < 0))
            if node.op_type == "Gather":
                order = self._views.constants.value(scope, node.input[1]).ravel()
                return bool(np.any(np.diff(order) < 0))
            if node.op_type == "Reshape":
                return swaps(scope, sizes(self._views.constants, scope, node.input[1]))
        except (WeightsError, IndexError):  # parameters that are computed, or wrong
            return False
        if node.op_type == "Concat":
            parts = [scope.producers.get(held) for held in node.input]
            held = {part.input[0] for part in parts if part is not None and part.input}
            return len(held) == 1 and all(p is not None and p.op_type in SELECTING for p in parts)
        return bool(node.op_type == "ReverseSequence")


def _is_layer(scope: Scope, node: Any) -> bool:
    """Return whether a node is a layer: by its name, or as it has a table or a matrix."""
    if is_standard(node):
        return node.op_type in _LAYERS or _is_embedding(scope, node)
    held = [scope.tensors.get(name) for name in node.input]
    return any(tensor is not None and len(tensor.dims) > 1 for tensor in held)


def _is_embedding(scope: Scope, node: Any) -> bool:
    is_gather = node.op_type == "Gather" and len(node.input) > 1
    return is_gather and is_constant(scope, str(node.input[0]))
