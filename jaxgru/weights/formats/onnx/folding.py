"""The steps that exporters put between tensors and a GRU, each done as ONNX defines it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.dtypes import FLOATS
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.onnx.attributes import get
from jaxgru.weights.formats.onnx.tensors import DTYPES
from jaxgru.weights.limits import MAX_AXES


class Step(NamedTuple):
    """A node with what it works on."""

    inputs: list[NDArray[Any] | None]  # None: left out
    attributes: dict[str, Any]
    output: int  # which of its outputs is asked for
    outputs: int  # and how many it has

    def data(self) -> NDArray[Any]:
        """Return the first input."""
        return self.needed(0)

    def needed(self, index: int) -> NDArray[Any]:
        """Return an input that must be there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise WeightsError(f"input {index} is left out: expected it")
        return found

    def numbers(self, name: str, index: int) -> list[int] | None:
        """Return integers: of an attribute, as old models have them, or of an input; else None."""
        if name in self.attributes:
            return [int(number) for number in get(self.attributes, name, "ints")]
        if index >= len(self.inputs) or self.inputs[index] is None:
            return None
        array = self.needed(index)
        # A shape, or one number an axis: more is damage, and would be slow.
        if array.dtype.kind != "i" or array.ndim != 1 or array.size > MAX_AXES:
            raise WeightsError(
                f"{name} has shape {array.shape} of {array.dtype}: expected at most {MAX_AXES} "
                "integers"
            )
        return [int(number) for number in array]


def _identity(step: Step) -> NDArray[Any]:
    return step.data()


def _transpose(step: Step) -> NDArray[Any]:
    return np.transpose(step.data(), get(step.attributes, "perm", "ints"))


def _concat(step: Step) -> NDArray[Any]:
    arrays = [step.needed(index) for index in range(len(step.inputs))]
    if len({array.dtype for array in arrays}) > 1:
        raise WeightsError("Concat has inputs of several types: expected one")
    return np.concatenate(arrays, axis=get(step.attributes, "axis", "int", 1))


def _split(step: Step) -> NDArray[Any]:
    data, axis = step.data(), get(step.attributes, "axis", "int", 0)
    sizes = step.numbers("split", 1)
    if sizes is None:
        part = math.ceil(data.shape[axis] / step.outputs)
        sizes = [part] * (step.outputs - 1) + [data.shape[axis] - part * (step.outputs - 1)]
    if len(sizes) != step.outputs or min(sizes) < 1 or sum(sizes) != data.shape[axis]:
        raise WeightsError(f"split is {sizes[:5]}: expected {step.outputs} parts of {data.shape}")
    begin = sum(sizes[: step.output])
    cut = [slice(None)] * data.ndim
    cut[axis] = slice(begin, begin + sizes[step.output])
    return data[tuple(cut)]


def _slice(step: Step) -> NDArray[Any]:
    data = step.data()
    starts, ends = step.numbers("starts", 1), step.numbers("ends", 2)
    if starts is None or ends is None:
        raise WeightsError("starts or ends is left out: expected both")
    axes, steps = step.numbers("axes", 3), step.numbers("steps", 4)
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut = [slice(None)] * data.ndim
    for axis, *bounds in zip(axes, starts, ends, steps, strict=True):
        cut[axis] = slice(*bounds)
    return data[tuple(cut)]


def _unsqueeze(step: Step) -> NDArray[Any]:
    axes = step.numbers("axes", 1)
    if axes is None:
        raise WeightsError("axes is left out: expected it")
    return np.expand_dims(step.data(), tuple(axes))


def _squeeze(step: Step) -> NDArray[Any]:
    axes = step.numbers("axes", 1)
    return np.squeeze(step.data(), None if axes is None else tuple(axes))


def _reshape(step: Step) -> NDArray[Any]:
    data, shape = step.data(), step.numbers("shape", 1)
    if shape is None:
        raise WeightsError("shape is left out: expected it")
    if not get(step.attributes, "allowzero", "int", 0):
        shape = [data.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return data.reshape(shape)


def _cast(step: Step) -> NDArray[Any]:
    dtype = DTYPES.get(get(step.attributes, "to", "int"))
    data = step.data()
    if dtype is None or dtype.name not in FLOATS or data.dtype.name not in FLOATS:
        raise WeightsError("Cast is from or to another type than floating-point: expected those")
    # Beyond the range a number becomes infinite, which is ONNX's result too.
    with np.errstate(over="ignore"):
        return data.astype(dtype)


# Each with how many bytes it allocates for one of its inputs, at most; 0 gives a view of them.
FOLDED: dict[str, tuple[Callable[[Step], NDArray[Any]], int]] = {
    "Identity": (_identity, 0),
    "Transpose": (_transpose, 0),
    "Concat": (_concat, 1),
    "Split": (_split, 0),
    "Slice": (_slice, 0),
    "Unsqueeze": (_unsqueeze, 0),
    "Squeeze": (_squeeze, 0),
    "Reshape": (_reshape, 1),
    "Cast": (_cast, 4),
}
