"""The arrays that ``jaxgru run`` takes: do they fit the weights and one another?"""

import argparse
import warnings

import numpy as np

from jaxgru.arrayfiles import ArrayFileError, ArrayFileWarning, ArrayReader, open_array
from jaxgru.params import GRUParams


def check_inputs(inputs: ArrayReader, params: GRUParams, arguments: argparse.Namespace) -> None:
    """Raise ArrayFileError unless the inputs fit the weights, and a plot if one is wanted."""
    shape, size = inputs.shape, params.input_size
    if len(shape) < 2 or shape[-1] != size:
        raise ArrayFileError(
            f"{arguments.inputs}: it has shape {shape}, expected (T, {size}) or (..., T, {size}), "
            f"as {arguments.weights} has {size} inputs"
        )
    if arguments.plot is not None and 0 in shape[:-1]:
        raise ArrayFileError(f"{arguments.inputs}: its shape {shape} has no step to plot")


def check_expected(
    expected: ArrayReader, shape: tuple[int, ...], arguments: argparse.Namespace
) -> None:
    """Raise ArrayFileError unless the expected states have the shape of the states."""
    if expected.shape != shape:
        raise ArrayFileError(
            f"{arguments.expect}: it has shape {expected.shape}, expected {shape}, the shape of "
            f"the states for {arguments.inputs}"
        )


def read_h0(path: str | None, params: GRUParams, inputs: ArrayReader) -> np.ndarray | None:
    """Return the state before the first step, ``(H,)`` or ``(..., H)``; None without a path.

    Raises:
        ArrayFileError: its shape fits neither the weights nor the inputs.
    """
    if path is None:
        return None
    with open_array(path, "h0") as reader:
        h0 = reader.read_all()
    units = params.hidden_size
    each = (*inputs.shape[:-2], units)
    if max(h0.shape, default=0) == h0.size == units:
        # One state, for every sequence, whatever axes of length 1 it has: text always has two.
        h0 = h0.reshape(units)
    elif h0.shape != each:
        wanted = f"({units},)" if each == (units,) else f"({units},) or {each}"
        raise ArrayFileError(f"{path}: it has shape {h0.shape}, expected {wanted}")
    if not np.isfinite(h0).all():
        warnings.warn(f"{path}: NaN or Inf", ArrayFileWarning, stacklevel=2)
    return h0
