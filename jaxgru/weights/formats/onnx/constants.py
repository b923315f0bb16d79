"""The values of a model that are constant: what is in the file, and what is made of that alone.

Exporters write weights as initializers or Constant nodes, and often cut, join and turn them on the
way to a GRU. These steps are done here exactly; whatever needs an input of the model has no value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.formats.onnx.attributes import attributes_of, get
from jaxgru.weights.formats.onnx.external import External
from jaxgru.weights.formats.onnx.folding import FOLDED, fold
from jaxgru.weights.formats.onnx.graphs import Scope, is_standard
from jaxgru.weights.formats.onnx.tensors import to_array
from jaxgru.weights.limits import Budget

# From a GRU back to its tensors. Exporters need about five steps; a circle of nodes has no end.
_MOST_STEPS = 50


class Constants:
    """Finds the constant values of a model.

    Args:
        budget: how much may be allocated.
        external: the files with data beside the model.
    """

    def __init__(self, budget: Budget, external: External) -> None:
        self.budget = budget
        self._external = external

    def value(self, scope: Scope, name: str, steps: int = 0) -> NDArray[Any]:
        """Return the value that a name has in a scope."""
        if name not in scope.known:
            scope.known[name] = self._found(scope, name, steps)
        return scope.known[name]

    def _found(self, scope: Scope, name: str, steps: int) -> NDArray[Any]:
        if steps > _MOST_STEPS:
            raise WeightsError(f"{shown(name)} is made in more than {_MOST_STEPS} steps")
        if name in scope.tensors:
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
        """Return one output of a node that has constant inputs."""
        if not is_standard(node) or node.op_type not in (*FOLDED, "Constant"):
            raise WeightsError(
                f"{shown(name)} is computed by {_described(node)}: expected a constant, or one "
                f"made by {', '.join(FOLDED)}"
            )
        if node.op_type == "Constant":
            return self._constant(attributes_of(node))
        inputs = [self.value(scope, key, steps + 1) if key else None for key in node.input]
        growth = FOLDED[node.op_type]
        self.budget.spend(sum(growth * array.nbytes for array in inputs if array is not None))
        try:
            return fold(node, inputs, scope.opset, name)
        except WeightsError as error:
            raise WeightsError(f"{_described(node)}: {error}") from error.__cause__

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


def _described(node: Any) -> str:
    called = f" {shown(node.name)}" if node.name else ""
    return f"{shown(node.op_type)[1:-1]} node{called}"
