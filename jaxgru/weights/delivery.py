"""GRUs handed to the caller: as JAX arrays, with a warning for all that there is to know."""

import warnings
from typing import Any

from jaxgru.weights.errors import WeightsError, WeightsWarning
from jaxgru.weights.found import Found
from jaxgru.weights.numbers import non_finite, to_jax


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
