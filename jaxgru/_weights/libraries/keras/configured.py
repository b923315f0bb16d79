"""The GRUs of a model by its configuration, and those of custom layers by their shapes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, result_or_error, shown
from jaxgru._weights.libraries.keras import groups
from jaxgru._weights.libraries.keras.chains import Configured, grus, inputs_of
from jaxgru._weights.libraries.keras.config import Layer
from jaxgru._weights.results import GRUsByName, LoadedGRU


def find(
    arrays: Arrays,
    root: groups.Group,
    model: Layer,
    version: str | None,
    assume: Mapping[str, Any],
) -> GRUsByName:
    """Return the GRUs of a model, in the order of the layers."""
    held = list(by_layer(root, model))
    by_id = {id(layer): group for _, layer, group in held}
    paths = {group.path: layer for _, layer, group in held if group}
    gathered: GRUsByName = {}
    known: set[str] = set()  # paths of the groups of the GRUs gathered
    stored: dict[str, Configured] = {}  # by the names of the layers
    for one in grus(model.inner, inputs_of(model), version, assume):
        group, again = by_id[id(one.layer)], stored.get(one.layer.name)
        if group is None and again is not None and again.gru == one.gru:
            continue  # a layer shared by models is stored once
        if one.name in gathered:
            raise WeightsError(
                f"the configuration has two layers called {shown(one.name)}: expected one"
            )
        gathered[one.name] = found = result_or_error(_found, arrays, one, group)
        if isinstance(found, LoadedGRU):
            stored[one.layer.name] = one
        known |= {group.path} if group else set()
    return gathered | groups.find(arrays, root, assume, known, gathered, paths)


def by_layer(root: groups.Group, model: Layer) -> Iterator[tuple[str, Layer, groups.Group | None]]:
    """Yield each layer of a model and of inner layers with its name and its group."""
    return _by_layer(model.inner, groups.layer_groups(root, model.inner), "")


def _by_layer(
    layers: Sequence[Layer], found: Sequence[groups.Group | None], prefix: str
) -> Iterator[tuple[str, Layer, groups.Group | None]]:
    for layer, group in zip(layers, found, strict=True):
        name = f"{prefix}{layer.name}"
        yield name, layer, group
        yield from _by_layer(layer.inner, groups.inner_groups(group, layer), f"{name}/")


def _found(arrays: Arrays, one: Configured, group: groups.Group | None) -> LoadedGRU:
    count = len(one.checked().cells)
    if group is None:
        raise WeightsError(
            "its weights are not in the file: expected those of each layer of the configuration"
        )
    groups.check_one_class(group)
    cells = groups.cell_groups(group)
    if len(cells) != count:
        raise WeightsError(
            f"{group.path} has {len(cells)} cells: expected {count}, as in the configuration"
        )
    return one.found([(groups.read_cell(arrays, cell), cell.path) for cell in cells])
