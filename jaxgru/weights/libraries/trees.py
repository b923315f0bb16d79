"""Trees of parameters as the JAX libraries have them in memory, as named arrays and back."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.dtypes import FLOATS, Unread
from jaxgru.weights.errors import WeightsWarning
from jaxgru.weights.results import to_jax


def named_arrays(tree: Mapping[Any, Any]) -> dict[str, NDArray[Any] | Unread]:
    """Return the arrays of nested mappings by their keys joined with ``/``.

    What is no array is passed over. An array in a box, as Flax's partitioned parameters are, is
    taken out of it.
    """
    found: dict[str, NDArray[Any] | Unread] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            inner = named_arrays(value)
            found |= {f"{key}/{name}": array for name, array in inner.items()}
            continue
        array = value.unbox() if hasattr(value, "unbox") else value
        if hasattr(array, "shape") and hasattr(array, "dtype"):
            found[str(key)] = read_array(array)
    return found


def read_array(array: Any) -> NDArray[Any] | Unread:
    """Return an array as one of NumPy, unread if it is not of numbers that weights can be."""
    if str(array.dtype) not in FLOATS:
        return Unread(tuple(array.shape), str(array.dtype))
    return np.asarray(array)


def jax_tree(tree: Any, *, stacklevel: int) -> Any:
    """Return a tree of NumPy arrays as one of JAX arrays, with a warning if that rounds them.

    Args:
        tree: the tree.
        stacklevel: as in ``warnings.warn``, seen from the caller.
    """
    converted, notes = to_jax(tree)
    for note in notes:
        warnings.warn(note, WeightsWarning, stacklevel=stacklevel + 1)
    return converted
