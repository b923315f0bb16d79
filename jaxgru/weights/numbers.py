"""What may become of numbers between a file and JAX: NaN and Inf noted, float64 rounded."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru.net import Net
from jaxgru.weights.errors import WeightsError


def non_finite(net: Net) -> list[str]:
    """Return a note for each array of a net that holds NaN or Inf."""
    notes = []
    for place, value in _arrays(net):
        nan, inf = np.count_nonzero(np.isnan(value)), np.count_nonzero(np.isinf(value))
        if nan or inf:
            notes.append(f"{place} holds {nan} NaN and {inf} Inf among its {value.size} numbers")
    return notes


def to_jax(net: Net) -> tuple[Any, list[str]]:
    """Return a net of NumPy arrays as one of JAX arrays, and a note if that rounded them.

    Raises:
        WeightsError: rounding would make a finite number infinite.
    """
    # JAX rounds float64 without a word where its x64 mode is off: here that is said. (NumPy's
    # own word on an overflow would come before the error below.)
    with np.errstate(over="ignore"):
        converted = jax.tree.map(jnp.asarray, net)
    rounded = []
    for (place, before), (_, after) in zip(_arrays(net), _arrays(converted), strict=True):
        if before.dtype == after.dtype:
            continue
        rounded.append(place)
        if np.any(np.isinf(np.asarray(after)) & np.isfinite(before)):
            raise WeightsError(
                f"{place} holds numbers beyond {after.dtype}'s range: {_X64} to keep {before.dtype}"
            )
    if not rounded:
        return converted, []
    note = f"{', '.join(rounded)} were rounded from float64 to float32: {_X64} to keep float64"
    return converted, [note]


_X64 = 'call jax.config.update("jax_enable_x64", True) first'


def _arrays(net: Net) -> Iterator[tuple[str, Any]]:
    for path, value in jax.tree_util.tree_flatten_with_path(net)[0]:
        yield jax.tree_util.keystr(path).lstrip("."), value
