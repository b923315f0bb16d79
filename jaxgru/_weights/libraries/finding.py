"""The GRUs of any library among named arrays."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.libraries import equinox, flax, haiku, mlx, tensorflow, torch
from jaxgru._weights.libraries.keras import names as keras
from jaxgru._weights.libraries.names import no_gru
from jaxgru._weights.libraries.unnamed import renamed
from jaxgru._weights.results import GRUsByName

LAYOUTS = (torch, flax, haiku, equinox, mlx, keras, tensorflow)


def find(arrays: Arrays, assume: Mapping[str, Any], *, looked_for: str = "") -> GRUsByName:
    """Return all GRUs among named arrays of any library, by the name of their module.

    Arrays that do not belong to a GRU are not read. The order is that of the file, except that
    modules whose names differ in a number, such as gru_2 and gru_10, are in the order of the
    numbers. ``looked_for`` describes the arrays of the format, for the error about a missing GRU.
    """
    arrays = renamed(arrays, assume) or arrays
    gathered: GRUsByName = {}
    for layout in LAYOUTS:
        for name, found in layout.find(arrays, assume).items():
            if name in gathered:
                found = WeightsError(
                    "the file has GRUs of two libraries at one place: expected one"
                )
            gathered[name] = found
    if not gathered:
        known = [*filter(None, [looked_for]), *(layout.LOOKED_FOR for layout in LAYOUTS)]
        raise WeightsError(no_gru(arrays, torch.others(arrays), " or ".join(known)))
    return {name: gathered[name] for name in _in_order(gathered)}


def _in_order(names: Iterable[str]) -> list[str]:
    """Sort names that differ only in a number by the numbers, and keep the order of the others."""
    ranks: dict[tuple[str, ...], int] = {}

    def key(name: str) -> list[tuple[int, str]]:
        pieces = re.split(r"([0-9]+)", name)  # alternating texts and numbers
        places = []
        for i, piece in enumerate(pieces):
            if i % 2:
                digits = piece.lstrip("0")
                places.append((len(digits), digits))
            else:
                # A text is ranked by its first occurrence after the same beginning of the name.
                places.append((ranks.setdefault(tuple(pieces[: i + 1]), len(ranks)), ""))
        return places

    return sorted(names, key=key)
