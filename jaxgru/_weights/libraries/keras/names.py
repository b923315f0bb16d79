"""The cells of Keras' recurrent layers among names of weights."""

import collections
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_NEW = ("kernel", "recurrent_kernel", "bias")
_OLD = ("W", "U", "b")
_OLD_BY_GATE = tuple(f"{array}_{gate}" for gate in "zrh" for array in _OLD)

# The path of an array, its kind, and the number of the cell if there are several.
_NAME = re.compile(
    r"(?P<place>.*?)(?:(?:^|/)(?P<new>kernel|recurrent_kernel|bias)|_(?P<old>[WUb](?:_[zrh])?)"
    r"|(?:^|/)param_(?P<position>\d))(?P<number>_\d+)?(?::\d+)?"
)
_COUNTED = re.compile(r"(.*)_(\d{1,9})", re.DOTALL)
_CELL = re.compile(r"(gru_cell|stacked_rnn_cells|rnn_cell|cell)(_\d+)?")
_SIDE = re.compile(r"(forward|backward)_.*")


class Place(NamedTuple):
    """The paths of the arrays of a cell."""

    path: str
    arrays: tuple[str, ...]  # their names: 2, 3 or, for each gate of Keras 1, 9

    @property
    def parts(self) -> list[str]:
        """The names in the path, without those of the cell in its layer."""
        parts = self.path.split("/") if self.path else []
        while parts and _CELL.fullmatch(parts[-1]):
            parts.pop()
        return parts

    @property
    def side(self) -> str | None:
        """The direction in a ``Bidirectional``: forward, backward or none."""
        found = _SIDE.fullmatch(self.parts[-1]) if self.parts else None
        return found[1] if found else None

    @property
    def counted(self) -> tuple[str, int]:
        """The path without the number of the cell, and that number."""
        name = _NAME.fullmatch(self.arrays[0])
        found = _COUNTED.fullmatch(f"{self.path}{(name and name['number']) or ''}")
        return (found[1], int(found[2])) if found else (self.path, 0)

    @property
    def is_stacked(self) -> bool:
        """Whether it is a cell of a stack: in a layer of cells, or with numbered arrays."""
        return "stacked_rnn_cells" in self.path or self.counted[0] == self.path


def find_places(names: Iterable[str]) -> list[Place]:
    """Return the places with the arrays of a recurrent cell among names of weights, in order.

    >>> find_places(["gru_1/kernel:0", "gru_1/recurrent_kernel:0", "dense_1/kernel:0"])
    [Place(path='gru_1', arrays=('gru_1/kernel:0', 'gru_1/recurrent_kernel:0'))]
    """
    held: dict[tuple[str, str], dict[str, str]] = {}
    others = set()
    for name in names:
        found = _NAME.fullmatch(name)
        if found:
            what = found["new"] or found["old"] or found["position"]
            held.setdefault((found["place"], found["number"] or ""), {})[what] = name
        else:
            others.add(name.rpartition("/")[0])
    places = []
    for (path, _), arrays in held.items():
        if path in others:  # a cell with more arrays is a custom one
            continue
        for kinds in (_NEW, _OLD, _OLD_BY_GATE, "012345678", "012"):
            # All arrays, or all except the bias.
            if set(arrays) == set(kinds) or (len(kinds) == 3 and set(arrays) == set(kinds[:2])):
                places.append(Place(path, tuple(arrays[kind] for kind in kinds if kind in arrays)))
                break
    return places


def as_layers(places: Sequence[Place]) -> list[tuple[str, list[list[Place]]]]:
    """Return the name of each layer, and the cells of its one or two directions."""
    held: dict[str, list[Place]] = collections.defaultdict(list)
    for place in places:
        held["/".join(place.parts[: -1 if place.side else None])].append(place)
    layers = []
    for name, cells in held.items():
        sides = [[cell for cell in cells if cell.side == side] for side in ("forward", "backward")]
        if len(sides[0]) == len(sides[1]) > 0:
            layers.append((name, sides))
            cells = [cell for cell in cells if cell.side is None]
        # A layer may have this name without another direction.
        alone: dict[str, list[Place]] = collections.defaultdict(list)
        for cell in cells:
            alone["/".join(cell.parts)].append(cell)
        for path, stack in alone.items():
            if all(cell.is_stacked for cell in stack):
                layers.append((path, [stack]))
            else:  # cells side by side in a layer of a user's own
                layers += [
                    ("/".join(cell.parts) if len(stack) == 1 else cell.path, [[cell]])
                    for cell in stack
                ]
    return layers
