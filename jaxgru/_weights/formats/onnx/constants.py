"""The constant values of a model: those in the file, and those computed from them.

Exporters write weights as initializers or Constant nodes, and often slice, join and transpose them
before a GRU. These operators are computed exactly by the reference evaluator of onnx, with checked
inputs and parameters, as it could allocate much memory otherwise. Values that depend on an input of
the model are not constant.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru._optional import need
from jaxgru._weights.dtypes import FLOATS, Arrays, read_now
from jaxgru._weights.errors import WeightsError, damaged, prefix_errors, shown
from jaxgru._weights.formats.onnx.graphs import Scope, attributes_of, get, is_standard
from jaxgru._weights.formats.onnx.tensors import DTYPES, External, to_array
from jaxgru._weights.limits import MAX_AXES, Budget

# The nodes on one way to or from a GRU, about five in practice; nodes may form a cycle.
MOST_STEPS = 50
# The operators, each with the largest number of bytes it allocates per byte of its inputs.
FOLDED = {
    "Identity": 0,
    "Transpose": 0,
    "Concat": 1,
    "Split": 0,
    "Slice": 0,
    "Unsqueeze": 0,
    "Squeeze": 0,
    "Reshape": 1,
    "Cast": 4,
    "DequantizeLinear": 16,
}


class Constants:
    """The constant values of a model, within a budget."""

    def __init__(self, budget: Budget, external: External, values: Arrays | None = None) -> None:
        self.budget = budget
        self._external = external
        self.values = values  # of the initializers of the main graph; None: those in the model

    def value(self, scope: Scope, name: str, steps: int = 0) -> NDArray[Any]:
        """Return the value of a name in a scope."""
        if name not in scope.known:
            scope.known[name] = self._found(scope, name, steps)
        return scope.known[name]

    def _found(self, scope: Scope, name: str, steps: int) -> NDArray[Any]:
        if steps > MOST_STEPS:
            raise WeightsError(f"{shown(name)} is made in more than {MOST_STEPS} steps")
        if name in scope.tensors:
            if scope.is_main and self.values is not None:
                value: NDArray[Any] = read_now(self.values[name])
                return value
            return to_array(scope.tensors[name], self._external)
        if name in scope.sparse:
            raise WeightsError(f"initializer {shown(name)} is sparse: expected a dense one")
        if name in scope.producers:
            return self._output(scope, scope.producers[name], name, steps)
        if name in scope.arguments:
            outer, outer_name = scope.arguments[name]
            return self.value(outer, outer_name, steps + 1)
        if name in scope.inputs:
            raise WeightsError(f"{shown(name)} is an input of the graph: expected a constant")
        if scope.outer is not None:
            return self.value(scope.outer, name, steps)
        raise WeightsError(f"nothing in the model is called {shown(name)}: expected a constant")

    def _output(self, scope: Scope, node: Any, name: str, steps: int) -> NDArray[Any]:
        """Return one output of a node with constant inputs."""
        if not is_standard(node) or node.op_type not in (*FOLDED, "Constant"):
            raise WeightsError(
                f"{shown(name)} is computed by {described(node)}: expected a constant, or one "
                f"made by {', '.join(FOLDED)}"
            )
        if node.op_type == "Constant":
            return self._constant(attributes_of(node))
        inputs = [self.value(scope, key, steps + 1) if key else None for key in node.input]
        growth = FOLDED[node.op_type]
        self.budget.spend(sum(growth * array.nbytes for array in inputs if array is not None))
        with prefix_errors(described(node)):
            # The evaluator has this operator since 19; before, it was the same without blocks.
            opset = max(scope.opset, 21) if node.op_type == "DequantizeLinear" else scope.opset
            return fold(node, inputs, opset, name)

    def _constant(self, attributes: dict[str, Any]) -> NDArray[Any]:
        if "value" in attributes:
            return to_array(get(attributes, "value", "tensor"), self._external)
        for name, kind, dtype in (
            ("value_float", "float", np.float32),
            ("value_floats", "floats", np.float32),
            ("value_int", "int", np.int64),
            ("value_ints", "ints", np.int64),
        ):
            if name in attributes:
                return np.array(get(attributes, name, kind), dtype)
        held = ", ".join(shown(name) for name in list(attributes)[:5]) or "no value"
        raise WeightsError(f"a Constant node has {held}: expected numbers that are not sparse")


def described(node: Any) -> str:
    """Return the operator and the name of a node, for a message."""
    called = f" {shown(node.name)}" if node.name else ""
    return f"{shown(node.op_type)[1:-1]} node{called}"


def fold(node: Any, inputs: list[NDArray[Any] | None], opset: int, output: str) -> NDArray[Any]:
    """Return one output of a node of these operators, given its inputs, None if omitted."""
    helper = need("onnx.helper", "onnx", "reading ONNX models")
    reference = need("onnx.reference", "onnx", "reading ONNX models")
    _check(node, inputs)
    named = {name: array for name, array in zip(node.input, inputs, strict=True) if name}
    # Errors of NumPy, the library or Python.
    with damaged("it does not fit", Exception):
        function = helper.make_function(
            "fold", "fold", list(named), list(node.output), [node], [helper.make_opsetid("", opset)]
        )
        # Numbers beyond the range of a type become infinite, as in ONNX.
        with np.errstate(over="ignore"):
            outputs = reference.ReferenceEvaluator(function).run(None, named, {})
    arrays = dict(zip(node.output, outputs, strict=True))
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise WeightsError("it does not fit: expected arrays of it")
    _check_whole(node.op_type, inputs, list(arrays.values()))
    found: NDArray[Any] = arrays[output]
    return found


def _check(node: Any, inputs: list[NDArray[Any] | None]) -> None:
    """Raise WeightsError for parameters that the evaluator accepts and ONNX does not have."""
    if not inputs or inputs[0] is None:
        raise WeightsError("its input 0 is left out: expected it")
    attributes = attributes_of(node)
    if any(attribute.ref_attr_name for attribute in node.attribute):
        raise WeightsError("it has attributes of a function's call: expected them in the node")
    if node.op_type == "Cast":
        dtype = DTYPES.get(get(attributes, "to", "int"))
        if dtype is None or {dtype.name, inputs[0].dtype.name} - FLOATS.keys():
            raise WeightsError("it is from or to another type than floating-point: expected those")
    if node.op_type == "Concat":
        if len({array.dtype for array in inputs if array is not None}) > 1:
            raise WeightsError("it has inputs of several types: expected one")
        return
    if node.op_type == "DequantizeLinear":
        dtypes = [array.dtype for array in inputs if array is not None]
        if len(inputs) < 2 or inputs[1] is None or dtypes[0].name not in ("int8", "uint8"):
            raise WeightsError("it has no scale or no int8 or uint8 numbers: expected both")
        if dtypes[1].name not in FLOATS or dtypes[2:] not in ([], dtypes[:1]):
            raise WeightsError(
                "its scale or zero point is of another type: expected a scale in "
                f"floating-point and a zero point in {dtypes[0]}"
            )
        return
    # Shapes, or one number per axis; more is invalid and would be slow.
    numbers = [array for array in inputs[1:] if array is not None]
    for array in numbers:
        if array.dtype.kind != "i" or array.ndim != 1 or array.size > MAX_AXES:
            raise WeightsError(
                f"it has an input of shape {array.shape} of {array.dtype}: expected at most "
                f"{MAX_AXES} integers"
            )
    lists = [list(attribute.ints) for attribute in node.attribute if attribute.ints]
    sizes = {array.size for array in numbers} | {len(values) for values in lists}
    if node.op_type == "Slice" and len(sizes) != 1:
        raise WeightsError("its starts, ends, axes and steps are not as many: expected one an axis")
    if get(attributes, "num_outputs", "int", len(node.output)) != len(node.output):
        raise WeightsError(f"num_outputs is not {len(node.output)}: expected as many as it has")


def _check_whole(
    op_type: str, inputs: list[NDArray[Any] | None], outputs: list[NDArray[Any]]
) -> None:
    if op_type == "Split" and inputs[0] is not None:
        total = sum(array.size for array in outputs)
        if total != inputs[0].size or not all(array.size for array in outputs):
            raise WeightsError("its parts are not the whole: expected sizes that add up")
