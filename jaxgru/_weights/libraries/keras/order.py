"""The weights of each cell of a layer of a model in HDF5, by their names or by their order.

A file lists the weights of such a layer, which may be a model, in the order of Keras' loader: first
the trainable weights, then the frozen ones. The configuration shows what is frozen, except for a
direction in Keras 2 and for the cell of a GRU. So the names decide if all of them differ.

Source: ``keras/src/legacy/saving/legacy_h5_format.py``, ``tf_keras/src/engine/base_layer.py``.
"""

import collections
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jaxgru._weights.libraries.keras.config import CELLS, Layer, has_gru
from jaxgru._weights.libraries.keras.names import Place

_SIDES = ("forward", "backward")
_LAYERS_OF_PARTS = ("Bidirectional", "StackedRNNCells")


class _Cell(NamedTuple):
    position: tuple[int, ...]  # in the layer of the model: the index in each layer around it
    names: tuple[str, ...]  # of the layers around it, outermost first, and its own
    gru: Layer | None  # the outermost layer of cells that it is in
    is_frozen: bool


def assign(layer: Layer, places: Sequence[Place], version: str | None) -> dict[int, list[Place]]:
    """Return the places of the cells of each GRU in a layer of a model, by the id of the GRU.

    A cell has no place if neither names nor the order show it. Without a version, the order of
    frozen weights is not known.
    """
    cells = list(_cells(layer, (), (), None))
    if version is None:
        order = [] if any(map(_is_frozen, layer.within)) else cells
    elif version.partition(".")[0] != "3":
        order = _trained_first(_cells(layer, (), (), None, is_keras_2=True))
    else:
        order = cells if _is_frozen(layer) else _trained_first(cells)
    found = _by_name(cells, places)
    if len(order) == len(places):
        by_order = {cell.position: place for cell, place in zip(order, places, strict=True)}
        # A name in another place means that some weights are frozen without a record of it.
        if all(by_order[position] is place for position, place in found.items()):
            found = by_order
    assigned: dict[int, list[Place]] = collections.defaultdict(list)
    for cell in cells:
        if cell.position in found:
            assigned[id(cell.gru)].append(found[cell.position])
    return assigned


def _cells(
    layer: Layer,
    names: tuple[str, ...],
    position: tuple[int, ...],
    gru: Layer | None,
    *,
    is_keras_2: bool = False,
) -> Iterator[_Cell]:
    """Yield the cells of GRUs in a layer in the order of the layers, or in that of Keras 2."""
    names = (*names, _canonical(layer.name))
    gru = layer if gru is None and has_gru(layer) else gru
    if layer.kind in CELLS:
        yield _Cell(position, names, gru, _is_frozen(layer))
        return
    parts = list(layer.inner)
    if layer.kind == "Bidirectional" and parts:
        # Not every version has a backward layer in the configuration if it equals the forward one.
        pairs = zip(_SIDES, (parts[0], parts[-1]), strict=True)
        parts = [part._replace(name=f"{side}_{part.name}") for side, part in pairs]
    inner = [
        list(_cells(part, names, (*position, i), gru, is_keras_2=is_keras_2))
        for i, part in enumerate(parts)
    ]
    if is_keras_2 and _is_frozen(layer):
        # All parts of a frozen layer are frozen, in the order of each part, or of a whole model.
        is_model = layer.kind not in _LAYERS_OF_PARTS
        inner = [list(itertools.chain(*inner))] if is_model else inner
        inner = [[cell._replace(is_frozen=True) for cell in _trained_first(part)] for part in inner]
    yield from itertools.chain(*inner)


def _is_frozen(layer: Layer) -> bool:
    return layer.config.get("trainable") is False


def _trained_first(cells: Iterator[_Cell] | list[_Cell]) -> list[_Cell]:
    return sorted(cells, key=lambda cell: cell.is_frozen)


def _by_name(cells: Sequence[_Cell], places: Sequence[Place]) -> dict[tuple[int, ...], Place]:
    """Return the place of each cell whose names match only this place, which no other cell matches.

    Some versions omit the names of outer layers, and most add names that are not in the
    configuration.
    """
    known = {name for cell in cells for name in cell.names}
    endings: dict[tuple[str, ...], list[_Cell]] = collections.defaultdict(list)
    for cell in cells:
        for start in range(len(cell.names)):
            endings[cell.names[start:]].append(cell)
    found: dict[tuple[int, ...], list[Place]] = collections.defaultdict(list)
    for place in places:
        for parts in (place.path.split("/"), place.parts):
            own = tuple(part for part in map(_canonical, parts) if part in known)
            if len(endings.get(own, ())) == 1:
                found[endings[own][0].position].append(place)
                break
    return {position: held[0] for position, held in found.items() if len(held) == 1}


def _canonical(name: str) -> str:
    """Return the name of a direction with its prefix once; Keras 2 adds another one."""
    return re.sub(r"^((?:for|back)ward_)\1+", r"\1", name)
