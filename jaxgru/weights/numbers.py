"""What may become of numbers between a file and JAX: NaN and Inf noted, float64 rounded."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError

_FIELDS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


def non_finite(params: GRUParams) -> list[str]:
    """Return a note for each array of the weights that holds NaN or Inf."""
    notes = []
    for field, value in _arrays(params):
        nan, inf = np.count_nonzero(np.isnan(value)), np.count_nonzero(np.isinf(value))
        if nan or inf:
            notes.append(f"{field} holds {nan} NaN and {inf} Inf among its {value.size} numbers")
    return notes


def to_jax(params: GRUParams) -> tuple[GRUParams, list[str]]:
    """Return weights given as NumPy arrays as JAX arrays, and a note if that rounded them.

    Raises:
        WeightsError: rounding would make a finite number infinite.
    """
    # JAX rounds float64 without a word where its x64 mode is off: here that is said. (NumPy's
    # own word on an overflow would come before the error below.)
    with np.errstate(over="ignore"):
        converted = jax.tree.map(jnp.asarray, params)
    rounded = []
    for (field, before), (_, after) in zip(_arrays(params), _arrays(converted), strict=True):
        if before.dtype == after.dtype:
            continue
        rounded.append(field)
        if np.any(np.isinf(np.asarray(after)) & np.isfinite(before)):
            raise WeightsError(
                f"{field} holds numbers beyond {after.dtype}'s range: {_X64} to keep {before.dtype}"
            )
    if not rounded:
        return converted, []
    note = f"{', '.join(rounded)} were rounded from float64 to float32: {_X64} to keep float64"
    return converted, [note]


_X64 = 'call jax.config.update("jax_enable_x64", True) first'


def _arrays(params: GRUParams) -> Iterator[tuple[str, Any]]:
    for field in _FIELDS:
        value = getattr(params, field)
        if value is not None:
            yield field, value
