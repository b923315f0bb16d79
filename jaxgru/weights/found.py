"""What a reader of weights is given, and what it gives back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from jaxgru.net import Net
from jaxgru.weights.errors import WeightsError

# What a GRU is called whose file has no name for it.
UNNAMED = "gru"


class Source(NamedTuple):
    """An open file to read weights from, and what the caller says of it."""

    file: BinaryIO  # at its beginning
    size: int  # in bytes
    assume: Mapping[str, Any]  # see jaxgru.weights.assume
    data_folder: Path | None = None  # where external data may lie; None: nowhere


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
