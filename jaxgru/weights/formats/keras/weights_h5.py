"""Keras 3's ``.weights.h5``: arrays without a model, in which GRUs are found by their shapes."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jaxgru.net import Backward, Bidirectional, Net
from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5 import Hdf5
from jaxgru.weights.formats.keras.groups import (
    CONTAINERS,
    Group,
    cell_groups,
    in_order,
    read_groups,
)
from jaxgru.weights.libraries.keras.arrays import cell_from_arrays, to_params
from jaxgru.weights.results import UNNAMED, Found, Gathered
from jaxgru.weights.unspecified import Fields


def read(h5: Hdf5, assume: Mapping[str, Any]) -> Gathered:
    """Return the GRUs in a file of weights.

    The shapes show a GRU's cell and whether it resets before or after; groups show both directions
    and stacks of cells. Activations, the merge and the direction of a single layer are assumed.

    Raises:
        WeightsError: the file is damaged or hostile.
    """
    return find(h5, read_groups(h5), assume)


def find(
    h5: Hdf5,
    root: Group,
    assume: Mapping[str, Any],
    known: Collection[str] = (),
    taken: Collection[str] = (),
) -> Gathered:
    """Return the GRUs among the groups of a model by their names, or by their paths.

    Args:
        h5: the file.
        root: the model's group.
        assume: what the caller assumes of the file.
        known: the paths of groups to leave out.
        taken: the names that others have.
    """
    gathered: Gathered = {}
    for names, group in _recurrent(h5, root, known, ()):
        name = _shown(names, group)
        if name in gathered or name in taken:
            name = group.path
        try:
            gathered[name] = _read_layer(h5, group, assume)
        except WeightsError as error:
            gathered[name] = error
    return gathered


def _recurrent(
    h5: Hdf5, group: Group, known: Collection[str], names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Group]]:
    """Give each group that is a GRU with the names on the way to it."""
    if group.path in known:
        return
    # A layer with more than its cells is a user's own, which may hold other GRUs beside.
    cells = cell_groups(group) if set(group.inner) in _LAYERS else []
    if cells and all(_is_cell(h5, cell) for cell in cells):
        yield names, group
        return
    for key in in_order(group.inner):
        # The optimiser's copies are of the same shapes.
        if not (key == "optimizer" and not names):
            inner = group.inner[key]
            yield from _recurrent(h5, inner, known, (*names, inner.name or key))


_SIDES = ("forward_layer", "backward_layer")
# A cell, a layer of a cell, and both directions: Keras 2 keeps the layer they were made from, too.
_LAYERS: tuple[set[str], ...] = (set(), {"cell"}, {*_SIDES}, {*_SIDES, "layer"})


def _is_cell(h5: Hdf5, group: Group) -> bool:
    if len(group.arrays) not in (2, 3):
        return False
    kernel, recurrent_kernel, *biases = (h5.shape(path) for path in group.arrays)
    if len(kernel) != 2 or len(recurrent_kernel) != 2:
        return False
    wide = 3 * recurrent_kernel[0]
    fits = kernel[1] == recurrent_kernel[1] == wide
    return fits and all(bias in ((wide,), (2, wide)) for bias in biases)


def _read_layer(h5: Hdf5, group: Group, assume: Mapping[str, Any]) -> Found:
    fields = Fields(assume)
    net: Net
    if "forward_layer" in group.inner:
        forward, backward = (_read_direction(h5, group.inner[side], fields) for side in _SIDES)
        net = Bidirectional(forward, backward, fields.resolve("merge"))
    else:
        net = _read_direction(h5, group, fields)
        if fields.resolve("reverse"):
            net = Backward(net)
    return Found(net, fields.notes())


def _read_direction(h5: Hdf5, group: Group, fields: Fields) -> Net:
    cells = tuple(_read_cell(h5, cell, fields) for cell in cell_groups(group))
    return cells[0] if len(cells) == 1 else cells


def _read_cell(h5: Hdf5, group: Group, fields: Fields) -> GRUParams:
    arrays = [h5.read(path) for path in group.arrays]
    return to_params(arrays, cell_from_arrays(arrays, fields, group.path), group.path)


def _shown(names: tuple[str, ...], group: Group) -> str:
    # What every model has distinguishes nothing.
    telling = [name for name in names if name not in CONTAINERS]
    return "/".join(telling) or group.path or UNNAMED
