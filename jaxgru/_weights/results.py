"""The GRUs found in a file, the choice among them, and the conversion to JAX with warnings."""

import itertools
import warnings
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._net import Net
from jaxgru._weights.conventions import check_stackable, is_traced
from jaxgru._weights.errors import (
    WeightsError,
    WeightsWarning,
    listed,
    plain,
    prefix_errors,
    result_or_error,
)

# The name of a GRU without a name in its file.
UNNAMED = "gru"
# The name for all GRUs of a file, as one net.
ALL = "*"
_MOST_NAMES = 20  # in a message
_X64 = 'call jax.config.update("jax_enable_x64", True) first'


# The inputs of a GRU, or of each of its calls: the name of the GRU whose outputs they are, perhaps
# with the number of its call, or a phrase for other inputs. None if the file does not show it.
Inputs = str | tuple[str | tuple[str, int], ...] | None


class LoadedGRU(NamedTuple):
    """A GRU found by a reader."""

    net: Net  # of NumPy arrays
    notes: tuple[str, ...] = ()  # the assumed values of missing fields
    inputs: Inputs = None

    @property
    def calls(self) -> tuple[str | tuple[str, int], ...]:
        """The inputs of each call, empty if the file does not show them."""
        return (self.inputs,) if isinstance(self.inputs, str) else self.inputs or ()


# All GRUs of a file by name, in the order of the file. A GRU that no net represents exactly is
# replaced by the error, which is raised only if this GRU is requested.
GRUsByName = dict[str, LoadedGRU | WeightsError]


def pick(gathered: GRUsByName, layer: str | None) -> LoadedGRU:
    """Return one GRU, or several consecutive ones as one net.

    ``layer`` is a name, several joined by "+", "*" for all, or None for a single GRU.
    """
    known = listed(gathered, _MOST_NAMES)
    if layer is None:
        if len(gathered) > 1:
            raise WeightsError(
                f"it contains {len(gathered)} GRUs: expected layer=, one of {known}; "
                f"{_one_net(gathered)}"
            )
        layer = next(iter(gathered))
    names = list(gathered) if layer == ALL else layer.split("+")
    if layer in gathered:
        if len(names) > 1 and gathered.keys() >= set(names):
            raise WeightsError(
                f"layer is {layer!r}: expected another name, because this is the name of one GRU "
                "and of several"
            )
        return get_or_raise(gathered, layer)
    if layer == ALL:
        for name in names:
            if len(get_or_raise(gathered, name).calls) > 1:
                raise WeightsError(
                    f"{plain(name)} is called several times: expected layer= with the names of the "
                    "calls to return, joined by '+'"
                )
        if len(names) == 1:
            return get_or_raise(gathered, names[0])
    if len(names) < 2 or not gathered.keys() >= set(names):
        raise WeightsError(f"layer is {layer!r}: expected one of {known}")
    return _stacked(gathered, names)


def every(gathered: GRUsByName) -> dict[str, LoadedGRU]:
    """Return all GRUs; raise the WeightsError of one that no net represents, with the others."""
    others = [name for name, found in gathered.items() if isinstance(found, LoadedGRU)]
    try:
        return {name: get_or_raise(gathered, name) for name in gathered}
    except WeightsError as error:
        hint = f"; load(layer=) returns the others: {listed(others)}" if others else ""
        raise WeightsError(f"{error}{hint}") from error.__cause__


def get_or_raise(gathered: GRUsByName, name: str) -> LoadedGRU:
    """Return one of the GRUs; raise its WeightsError, with its name, if no net represents it."""
    found = gathered[name]
    if isinstance(found, WeightsError):
        # The name of a single GRU is omitted.
        place = f"{plain(name)}: " if len(gathered) > 1 else ""
        raise WeightsError(f"{place}{found}") from found.__cause__
    return found


def stack_of_all(gathered: GRUsByName) -> LoadedGRU | None:
    """Return all GRUs of a file as one net if the file shows that they are consecutive."""
    once = all(
        isinstance(found, LoadedGRU) and len(found.calls) == 1 for found in gathered.values()
    )
    if not once or len(gathered) < 2:
        return None
    stack = result_or_error(_stacked, gathered, list(gathered))
    return stack if isinstance(stack, LoadedGRU) else None


def to_jax_and_warn(found: LoadedGRU, place: str, *, stacklevel: int) -> Net:
    """Return the net of a GRU with JAX arrays, with warnings about assumptions and rounding.

    ``place`` is its source, for messages; ``stacklevel`` is that of ``warnings.warn``.
    """
    with prefix_errors(place):
        net: Net
        net, rounded = to_jax(found.net)
    warn(found, place, rounded, stacklevel=stacklevel + 1)
    return net


def warn(found: LoadedGRU, place: str, more: list[str], *, stacklevel: int) -> None:
    """Warn of each note on a GRU, of NaN and Inf in it, and of the additional notes."""
    for note in (*found.notes, *_non_finite(found.net), *more):
        warnings.warn(f"{place}: {note}", WeightsWarning, stacklevel=stacklevel + 1)


def to_jax(net: Any) -> tuple[Any, list[str]]:
    """Convert a tree of NumPy arrays to JAX arrays, and return a note if that rounded them."""
    # With its x64 mode off, JAX rounds float64 silently. (The warning of NumPy about an overflow
    # would come before the error below.)
    with np.errstate(over="ignore"):
        converted = jax.tree.map(jnp.asarray, net)
    rounded = []
    for (place, before), (_, after) in zip(
        _arrays_of_net(net), _arrays_of_net(converted), strict=True
    ):
        if before.dtype == after.dtype:
            continue
        rounded.append(place)
        if np.any(np.isinf(np.asarray(after)) & np.isfinite(before)):
            raise WeightsError(
                f"{place} has numbers beyond the range of {after.dtype}: {_X64} to keep "
                f"{before.dtype}"
            )
    if not rounded:
        return converted, []
    note = f"{', '.join(rounded)} were rounded from float64 to float32: {_X64} to keep float64"
    return converted, [note]


def _stacked(gathered: GRUsByName, names: list[str]) -> LoadedGRU:
    parts = [get_or_raise(gathered, name) for name in names]
    notes = [note for part in parts for note in part.notes]
    calls: Collection[int] | None = None  # of the one before that are in the chain; None: any
    for (before, _), (name, part) in itertools.pairwise(zip(names, parts, strict=True)):
        if not part.calls:
            notes.append(
                f"the file does not show that the outputs of {before!r} are the inputs of {name!r}"
            )
            calls = None
            continue
        calls = [i for i, source in enumerate(part.calls) if _is_of(source, before, calls)]
        if not calls:
            inputs = (source if isinstance(source, str) else source[0] for source in part.calls)
            raise WeightsError(
                f"the inputs of {name!r} are {' or '.join(dict.fromkeys(inputs))}: expected the "
                f"outputs of {before!r} in a stack"
            )
    net = tuple(part.net for part in parts)
    try:
        check_stackable(net)
    except ValueError as error:
        raise WeightsError(f"{' and '.join(map(repr, names))} are not a net: {error}") from None
    return LoadedGRU(net, tuple(dict.fromkeys(notes)), parts[0].inputs)


def _is_of(source: str | tuple[str, int], name: str, calls: Collection[int] | None) -> bool:
    """Return whether inputs are the outputs of a GRU, of one of these calls."""
    if isinstance(source, str):
        return source == name
    return source[0] == name and (calls is None or source[1] in calls)


def _one_net(gathered: GRUsByName) -> str:
    if stack_of_all(gathered) is not None:
        return f"or {ALL!r} for all of them as one stack"
    return "or several consecutive ones, joined by '+'"


def _non_finite(net: Net) -> list[str]:
    """Return a note for each array of a net with NaN or Inf."""
    notes = []
    for place, value in _arrays_of_net(net):
        if is_traced(value):
            continue
        nan, inf = np.count_nonzero(np.isnan(value)), np.count_nonzero(np.isinf(value))
        if nan or inf:
            notes.append(f"{place} has {nan} NaN and {inf} Inf among its {value.size} numbers")
    return notes


def _arrays_of_net(net: Net) -> Iterator[tuple[str, Any]]:
    for path, value in jax.tree_util.tree_flatten_with_path(net)[0]:
        yield jax.tree_util.keystr(path).lstrip("."), value
