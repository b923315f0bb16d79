"""The cells of Keras' recurrent layers among names of weights."""

import collections
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxgru._net import Backward, Bidirectional, Net
from jaxgru._params import GRUParams
from jaxgru._weights.defaults import Fields
from jaxgru._weights.dtypes import Arrays, read_now
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.libraries.keras.arrays import cell_from_arrays, to_params
from jaxgru._weights.libraries.names import Build, build_all, by_place, check_arrays, label
from jaxgru._weights.results import GRUsByName

LOOKED_FOR = "kernel (I, 3H), recurrent_kernel (H, 3H) and bias of Keras"

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
        # A layer may have this name without being one of two directions.
        alone: dict[str, list[Place]] = collections.defaultdict(list)
        for cell in cells:
            alone["/".join(cell.parts)].append(cell)
        for path, stack in alone.items():
            if all(cell.is_stacked for cell in stack):
                layers.append((path, [stack]))
            else:  # cells side by side in a custom layer
                layers += [
                    ("/".join(cell.parts) if len(stack) == 1 else cell.path, [[cell]])
                    for cell in stack
                ]
    return layers


def find(arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return all GRUs under the names of Keras' variables, and of the fields of ``GRUParams``."""
    cells: dict[str, dict[str, str]] = {}
    for place, module in by_place(arrays).items():
        held = {own.removesuffix(":0"): name for own, name in module.items()}
        if held.keys() >= {*_NEW[:2]}:
            rows, columns = ((0, 0, *arrays[held["recurrent_kernel"]].shape))[-2:]
            if columns == 3 * rows > 0:
                cells[place] = held
    builds: dict[str, Build] = {}
    for name, sides in as_layers([Place(place, tuple(held)) for place, held in cells.items()]):
        paths = [cell.path for side in sides for cell in side]
        # The names of several cells of one layer do not show their order.
        groups = {name: paths} if len(paths) == len(sides) else {path: [path] for path in paths}
        for own, group in groups.items():
            builds[own] = functools.partial(_net, arrays, {path: cells[path] for path in group})
    return build_all(builds, assume, "keras")


def _net(arrays: Arrays, cells: Mapping[str, Mapping[str, str]], fields: Fields) -> Net:
    nets = [_cell(arrays, place, held, fields) for place, held in cells.items()]
    if len(nets) == 2:
        return Bidirectional(nets[0], nets[1], fields.resolve("merge"))
    return Backward(nets[0]) if fields.resolve("reverse") else nets[0]


def _cell(arrays: Arrays, place: str, held: Mapping[str, str], fields: Fields) -> GRUParams:
    found = {own: arrays[name] for own, name in held.items()}
    is_keras = fields.given("source") == "keras" or ":" in "".join(held.values())
    is_keras = is_keras or _CELL.fullmatch(place.rpartition("/")[2]) is not None
    has_one = "recurrent_bias" not in found and "bias" in found and found["bias"].shape[1:] == ()
    if has_one and not is_keras and fields.given("reset_after") is None:
        raise WeightsError(
            f"{label(place, 'bias')} has shape {found['bias'].shape}, which shows the position of "
            "the reset gate only in Keras: expected assume={'source': 'keras'} or "
            "{'reset_after': ...}"
        )
    if "recurrent_bias" in found or (has_one and not is_keras):
        # The names of GRUParams, in a tree of arrays.
        shapes: dict[str, tuple[str, ...]] = {
            "recurrent_kernel": ("H", "3H"),
            "kernel": ("I", "3H"),
        }
        for own in ("bias", "recurrent_bias"):
            if own in found:
                shapes[own] = ("3H",)
        fits = check_arrays(found, place, shapes, may_be_stacked=True)
        return fields.params(**{own: fits[own] for own in shapes})
    where = label("", place) or "it"
    read = [read_now(found[own]) for own in _NEW if own in found]
    return to_params(read, cell_from_arrays(read, fields, where), where)
