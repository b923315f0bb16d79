"""The steps that exporters put between tensors and a GRU, done by onnx's reference evaluator.

It runs these operators alone, on small inputs of theirs that have been looked at: others, and
these with any parameters, can be made to take much memory.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru.optional import need
from jaxgru.weights.dtypes import FLOATS
from jaxgru.weights.errors import WeightsError, first_line
from jaxgru.weights.formats.onnx.attributes import attributes_of, get
from jaxgru.weights.formats.onnx.tensors import DTYPES
from jaxgru.weights.limits import MAX_AXES

# The operators, each with the bytes it allocates for one byte of its inputs, at most.
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
}


def fold(node: Any, inputs: list[NDArray[Any] | None], opset: int, output: str) -> NDArray[Any]:
    """Return an output of a node with constant inputs.

    Args:
        node: a NodeProto of one of these operators.
        inputs: its inputs in order, None for one that is left out.
        opset: the version of the standard's operators.
        output: the name of the output.
    """
    helper = need("onnx.helper", "onnx", "reading ONNX models")
    reference = need("onnx.reference", "onnx", "reading ONNX models")
    _check(node, inputs)
    named = {name: array for name, array in zip(node.input, inputs, strict=True) if name}
    try:
        function = helper.make_function(
            "fold", "fold", list(named), list(node.output), [node], [helper.make_opsetid("", opset)]
        )
        # Beyond the range of a type a number becomes infinite, which is ONNX's result too.
        with np.errstate(over="ignore"):
            outputs = reference.ReferenceEvaluator(function).run(None, named, {})
    except Exception as error:  # whatever the operators raise: NumPy's, the library's, Python's own
        raise WeightsError(f"it does not fit ({first_line(error)})") from error
    arrays = dict(zip(node.output, outputs, strict=True))
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise WeightsError("it does not fit: expected arrays of it")
    _check_whole(node.op_type, inputs, list(arrays.values()))
    found: NDArray[Any] = arrays[output]
    return found


def _check(node: Any, inputs: list[NDArray[Any] | None]) -> None:
    """Raise WeightsError for parameters that the evaluator would take and ONNX has not."""
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
    # Shapes, or one number an axis: more is damage, and would be slow.
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
