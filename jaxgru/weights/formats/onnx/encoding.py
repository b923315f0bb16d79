"""Layers as the tensors and attributes of a GRU node."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxgru.net import Net
from jaxgru.params import GRUParams
from jaxgru.weights.dtypes import FLOATS
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.onnx.activations import applied

# What protobuf can hold, less some room for all but weights.
_MOST_BYTES = 2**31 - 2**20


def check_held(net: Net) -> np.dtype[Any]:
    """Return the type of a net's arrays; raise WeightsError unless GRU nodes can hold the net."""
    leaves = jax.tree.leaves(net)
    dtypes = sorted({str(leaf.dtype) for leaf in leaves})
    if len(dtypes) > 1 or dtypes[0] not in FLOATS:
        raise WeightsError(
            f"its arrays are {' and '.join(dtypes)}: expected one of {', '.join(FLOATS)} for all, "
            "as ONNX's operators have"
        )
    size = sum(leaf.nbytes for leaf in leaves)
    if size > _MOST_BYTES:
        raise WeightsError(
            f"its arrays have {size} bytes: expected at most {_MOST_BYTES} in a model"
        )
    return FLOATS[dtypes[0]]


def stacked(sides: Sequence[GRUParams]) -> dict[str, NDArray[Any]]:
    """Return W ``(D, 3H, I)``, R ``(D, 3H, H)`` and, if any side has a bias, B ``(D, 6H)``."""
    tensors = {
        "W": np.stack([np.asarray(side.kernel).T for side in sides]),
        "R": np.stack([np.asarray(side.recurrent_kernel).T for side in sides]),
    }
    biases = [(side.bias, side.recurrent_bias) for side in sides]
    if any(bias is not None for pair in biases for bias in pair):
        zeros = np.zeros(3 * sides[0].hidden_size, sides[0].dtype)
        rows = [[zeros if bias is None else np.asarray(bias) for bias in pair] for pair in biases]
        tensors["B"] = np.stack([np.concatenate(row) for row in rows])
    return tensors


def gru_attributes(sides: Sequence[GRUParams]) -> dict[str, Any]:
    """Return the attributes of a GRU node, but for its direction.

    Raises:
        WeightsError: ONNX has no equal of an activation, or makes another number of a clip.
    """
    first = sides[0]
    attributes: dict[str, Any] = {
        "hidden_size": first.hidden_size,
        "linear_before_reset": int(first.reset_after),
    }
    if first.clip is not None:
        attributes["clip"] = _float32_clip(first.clip, first.dtype)
    names = [name for side in sides for name in (side.recurrent_activation, side.activation)]
    functions = [applied(name) for name in names]
    if names != ["sigmoid", "tanh"] * len(sides):
        attributes["activations"] = [function.function for function in functions]
        # One number after the other for the functions that take one, as ONNX Runtime deals them.
        alpha = [value for function in functions for value in function.alpha]
        beta = [value for function in functions for value in function.beta]
        attributes |= {"activation_alpha": alpha} if alpha else {}
        attributes |= {"activation_beta": beta} if beta else {}
    return attributes


def _float32_clip(clip: float, dtype: np.dtype[Any]) -> float:
    """Return a clip as the node's attribute has it, float32, which must clip alike."""
    with np.errstate(over="ignore"):
        rounded = float(np.float32(clip))
    # A net of at most float32 clips in float32 itself: there the two are one.
    if not 0 < rounded < math.inf or (dtype.itemsize > 4 and rounded != clip):
        raise WeightsError(
            f"clip is {clip!r}: expected a number that float32 has, as ONNX's attributes are "
            f"(the nearest is {rounded!r})"
        )
    return rounded
