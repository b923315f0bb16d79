"""The GRUs found in a file, and one of them for the caller: as JAX arrays, with warnings."""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru.net import Net
from jaxgru.weights.errors import WeightsError, WeightsWarning

# What a GRU is called whose file has no name for it.
UNNAMED = "gru"


class Found(NamedTuple):
    """A GRU as a reader found it."""

    net: Net  # of NumPy arrays
    notes: tuple[str, ...] = ()  # what the file did not say and was assumed


# Every GRU of a file by its name, in the file's order. One that no net can hold exactly is there
# with the reason, which is raised only when it is asked for: its neighbours may be sound.
Gathered = dict[str, Found | WeightsError]


def pick(gathered: Gathered, layer: str | None) -> Found:
    """Return the GRU called ``layer``, or the only one there is if ``layer`` is None.

    Raises:
        WeightsError: there is no such GRU, several without a word which, or it cannot be held.
    """
    names = ", ".join(map(repr, gathered))
    if layer is None:
        if len(gathered) > 1:
            raise WeightsError(f"it holds {len(gathered)} GRUs: expected layer=, one of {names}")
        layer = next(iter(gathered))
    if layer not in gathered:
        raise WeightsError(f"layer is {layer!r}: expected one of {names}")
    return sound(gathered, layer)


def sound(gathered: Gathered, name: str) -> Found:
    """Return one of the GRUs; raise its WeightsError, with its name, if no net can hold it."""
    found = gathered[name]
    if isinstance(found, WeightsError):
        # Where there is but one, its name tells nothing.
        place = f"{name}: " if len(gathered) > 1 else ""
        raise WeightsError(f"{place}{found}") from found.__cause__
    return found


def deliver(found: Found, place: str, *, stacklevel: int) -> Any:
    """Return the net of a GRU with JAX arrays, and warn of what was assumed or happened to it.

    Args:
        found: the GRU.
        place: where it comes from, for messages: a path, or what the caller gave.
        stacklevel: as in ``warnings.warn``, seen from the caller: 2 is who called that.

    Raises:
        WeightsError: the numbers are beyond the range that JAX's types have.
    """
    try:
        net, rounded = to_jax(found.net)
    except WeightsError as error:
        raise WeightsError(f"{place}: {error}") from None
    warn(found, place, rounded, stacklevel=stacklevel + 1)
    return net


def warn(found: Found, place: str, more: list[str], *, stacklevel: int) -> None:
    """Give a warning for each note on a GRU, for NaN and Inf in it, and for each note more."""
    for note in (*found.notes, *non_finite(found.net), *more):
        warnings.warn(f"{place}: {note}", WeightsWarning, stacklevel=stacklevel + 1)


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
