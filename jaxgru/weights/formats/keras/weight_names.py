"""The names that Keras 1 to 3 give weights in legacy files, and the GRU cells that they belong to.

==========================  =====================================================================
Keras 1                     ``gru_1_W_z``, ``gru_1_U_z``, ``gru_1_b_z``, likewise r and h;
                            ``gru_1_W``, ``gru_1_U``, ``gru_1_b`` where the gates are joined
Keras 2                     ``gru_1/kernel:0``, ``gru_1/recurrent_kernel:0``, ``gru_1/bias:0``
TensorFlow 2                ``gru/gru_cell_1/kernel:0``
Keras 3                     ``model/gru/gru_cell/kernel``
both directions             ``bidirectional/forward_gru/...`` and ``bidirectional/backward_gru/...``
stacks of cells             ``rnn/stacked_rnn_cells/gru_cell_1/...``, or ``rnn/kernel_1:0``
==========================  =====================================================================
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_NEW = ("kernel", "recurrent_kernel", "bias")
_OLD = ("W", "U", "b")
_OLD_BY_GATE = tuple(f"{array}_{gate}" for gate in "zrh" for array in _OLD)

# The place of an array, what it is there, and the number of the cell where the place has several.
_NAME = re.compile(
    r"(?P<place>.*?)(?:(?:^|/)(?P<new>kernel|recurrent_kernel|bias)|_(?P<old>[WUb](?:_[zrh])?)"
    r"|(?:^|/)param_(?P<position>\d))(?P<number>_\d+)?(?::\d+)?"
)
_CELL = re.compile(r"(gru_cell|stacked_rnn_cells|rnn_cell|cell)(_\d+)?")
_SIDE = re.compile(r"(forward|backward)_.*")


class Place(NamedTuple):
    """Where the arrays of a cell are."""

    path: str
    arrays: tuple[str, ...]  # their names: 2, 3 or, for each gate of Keras 1, 9

    @property
    def parts(self) -> list[str]:
        """The names on the path, but for those of the cell within its layer."""
        parts = self.path.split("/") if self.path else []
        while parts and _CELL.fullmatch(parts[-1]):
            parts.pop()
        return parts

    @property
    def side(self) -> str | None:
        """Which direction of a ``Bidirectional`` the path is of: forward, backward or none."""
        found = _SIDE.fullmatch(self.parts[-1]) if self.parts else None
        return found[1] if found else None


def find_places(names: Iterable[str]) -> list[Place]:
    """Return the places among names of weights that have the arrays of a recurrent cell, in order.

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
        if path in others:  # a cell with more arrays is a user's own
            continue
        for kinds in (_NEW, _OLD, _OLD_BY_GATE, "012345678", "012"):
            # Every kind of array, or all but the bias.
            if set(arrays) == set(kinds) or (len(kinds) == 3 and set(arrays) == set(kinds[:2])):
                places.append(Place(path, tuple(arrays[kind] for kind in kinds if kind in arrays)))
                break
    return places


class Directions(NamedTuple):
    """The cells of one layer: of one direction or, if there are backward ones, of two."""

    name: str
    forward: list[Place]
    backward: list[Place]


def as_layers(places: Sequence[Place]) -> list[Directions]:
    """Return places put together to layers: the cells of a stack, and both directions."""
    held: dict[str, list[Place]] = {}
    for place in places:
        held.setdefault("/".join(place.parts[: -1 if place.side else None]), []).append(place)
    layers = []
    for name, cells in held.items():
        forward, backward = (
            [place for place in cells if place.side == side] for side in ("forward", "backward")
        )
        if len(forward) == len(backward) > 0:
            layers.append(Directions(name, forward, backward))
            cells = [place for place in cells if place.side is None]
        # A layer may be called so without another that goes the other way.
        alone: dict[str, list[Place]] = {}
        for place in cells:
            alone.setdefault("/".join(place.parts), []).append(place)
        layers += [Directions(path, stack, []) for path, stack in alone.items()]
    return layers
