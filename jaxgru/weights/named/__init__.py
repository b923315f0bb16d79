"""GRUs among named arrays, such as a model's state: one module for each library's layout.

Each has ``find(arrays, assume) -> Gathered`` for its own layout, and ``LOOKED_FOR``, a phrase that
says what that is.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.floats import Arrays
from jaxgru.weights.found import Gathered
from jaxgru.weights.named import equinox, flax, haiku, torch

LAYOUTS = (torch, flax, haiku, equinox)


def find(arrays: Arrays, assume: Mapping[str, Any]) -> Gathered:
    """Return every GRU among named arrays, whichever library named them.

    Args:
        arrays: by their names, whose parts are joined by "." or "/". One that belongs to no GRU
            is never asked for, so the mapping may read an array when it is.
        assume: what the caller says of what no array tells, see ``jaxgru.weights.assume``.

    Returns:
        The GRUs by the names of their places in the model, in the file's order; but places that
        differ in a number, as gru_2 and gru_10 do, are in the order of the numbers.

    Raises:
        WeightsError: there is none, or two names mean one array.
    """
    gathered: Gathered = {}
    for layout in LAYOUTS:
        for name, found in layout.find(arrays, assume).items():
            if name in gathered:
                found = WeightsError("the arrays of two libraries' GRUs are there: expected one's")
            gathered[name] = found
    if not gathered:
        raise WeightsError(_nothing(arrays))
    return {name: gathered[name] for name in _in_order(gathered)}


def _nothing(arrays: Arrays) -> str:
    names = list(arrays)
    some = ", ".join([*(ascii(name[:80]) for name in names[:3]), *["..."] * (len(names) > 3)])
    others = "".join(f", {other}" for other in torch.others(arrays)[:3])
    looked_for = " or ".join(layout.LOOKED_FOR for layout in LAYOUTS)
    return f"no GRU is among its {len(names)} arrays ({some}){others}: expected {looked_for}"


def _in_order(names: Iterable[str]) -> list[str]:
    """Put names that differ in a number alone in the order of the numbers, and leave the rest."""
    ranks: dict[tuple[str, ...], int] = {}

    def key(name: str) -> list[tuple[int, str]]:
        pieces = re.split(r"([0-9]+)", name)  # texts and numbers by turns
        places = []
        for i, piece in enumerate(pieces):
            if i % 2:
                digits = piece.lstrip("0")
                places.append((len(digits), digits))
            else:
                # A text is placed by where it stood first after what is before it in the name.
                places.append((ranks.setdefault(tuple(pieces[: i + 1]), len(ranks)), ""))
        return places

    return sorted(names, key=key)
