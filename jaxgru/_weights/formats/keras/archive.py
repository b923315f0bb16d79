"""``.keras`` files: a zip archive with the configuration of a model as JSON and weights as HDF5.

The configuration has the fields of each GRU; ``groups`` finds the arrays of each. GRUs in custom
layers and models, which are not in the configuration, are found by the shapes of their arrays.
Everything else in the archive is ignored, and nothing in it is run.
"""

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jaxgru._weights.contract import Look, Source, Stored
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, outcome, shown
from jaxgru._weights.formats.hdf5 import Hdf5
from jaxgru._weights.formats.hdf5.rewriting import with_datasets
from jaxgru._weights.formats.keras import groups
from jaxgru._weights.formats.zip import copy_archive, open_archive, read_entry
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.libraries.keras.chains import Configured, grus, inputs_of
from jaxgru._weights.libraries.keras.config import LARGEST, Layer, model_of
from jaxgru._weights.libraries.keras.models import whole_model
from jaxgru._weights.results import UNNAMED, Found, Gathered, stack_of_all

# The name of a model of a stack written by jaxgru, which is read as that stack.
STACK = "jaxgru_stack"
_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"


def recognises(look: Look) -> bool:
    """Return whether a file is a zip archive with the configuration of a Keras model."""
    return look.entries is not None and {_CONFIG, _METADATA} <= set(look.entries)


def read(source: Source) -> Stored:
    """Return the arrays of a ``.keras`` file, by their paths in its HDF5 file."""
    archive = open_archive(source.file, source.size, "a Keras model")
    _check_whole(archive.namelist())
    metadata, config = (
        parse_json(read_entry(archive, name), name, LARGEST) for name in (_METADATA, _CONFIG)
    )
    content = read_entry(archive, _WEIGHTS)
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    version = version if isinstance(version, str) else None
    h5 = Hdf5(io.BytesIO(content), len(content))
    model, root = model_of(config), groups.read_groups(h5)
    find = functools.partial(_find, h5, model, version)
    held = list(_by_layer(model.inner, groups.layer_groups(root, model.inner)))
    layers = {group.path: (name, layer) for name, layer, group in held if group}
    named = groups.names_of(root, layers)
    build = functools.partial(whole_model, model, version, find, named)

    def rewrite(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
        copy_archive(archive, path, {_WEIGHTS: with_datasets(content, arrays)})

    return Stored(h5.all_arrays(), find, named, build, rewrite)


def _find(
    h5: Hdf5, model: Layer, version: str | None, arrays: Arrays, assume: Mapping[str, Any]
) -> Gathered:
    """Return the GRUs in a file, in the order of the layers."""
    h5 = h5.with_values(arrays)
    root = groups.read_groups(h5)
    held = list(_by_layer(model.inner, groups.layer_groups(root, model.inner)))
    by_layer = {id(layer): group for _, layer, group in held}
    paths = {group.path: layer for _, layer, group in held if group}
    gathered: Gathered = {}
    known: set[str] = set()  # paths of the groups of the GRUs gathered
    stored: dict[str, Configured] = {}  # by the names of the layers
    for one in grus(model.inner, inputs_of(model), version, assume):
        group, again = by_layer[id(one.layer)], stored.get(one.layer.name)
        if group is None and again is not None and again.gru == one.gru:
            continue  # a layer shared by models is stored once
        if one.name in gathered:
            raise WeightsError(f"{_CONFIG} has two layers called {shown(one.name)}: expected one")
        gathered[one.name] = found = outcome(_found, h5, one, group)
        if isinstance(found, Found):
            stored[one.layer.name] = one
        known |= {group.path} if group else set()
    if model.name == STACK and (stack := stack_of_all(gathered)) is not None:
        return {UNNAMED: stack}
    return gathered | groups.find(h5, root, assume, known, gathered, paths)


def _by_layer(
    layers: Sequence[Layer], found: Sequence[groups.Group | None], prefix: str = ""
) -> Iterator[tuple[str, Layer, groups.Group | None]]:
    """Yield each layer of a model and of inner layers with its name and its group."""
    for layer, group in zip(layers, found, strict=True):
        name = f"{prefix}{layer.name}"
        yield name, layer, group
        yield from _by_layer(layer.inner, groups.inner_groups(group, layer), f"{name}/")


def _found(h5: Hdf5, one: Configured, group: groups.Group | None) -> Found:
    count = len(one.checked().cells)
    if group is None:
        raise WeightsError(
            f"{_WEIGHTS} has no group for it: expected one for each layer of {_CONFIG}"
        )
    groups.check_one_class(group)
    cells = groups.cell_groups(group)
    if len(cells) != count:
        raise WeightsError(
            f"{group.path} has {len(cells)} cells: expected {count}, as in {_CONFIG}"
        )
    return one.found([([h5.read(path) for path in cell.arrays], cell.path) for cell in cells])


def _check_whole(names: Sequence[str]) -> None:
    if _WEIGHTS in names:
        return
    other = next((name for name in names if name.startswith("model.weights.")), None)
    held = "no weights" if other is None else f"its weights in {shown(other)}"
    raise WeightsError(f"the archive holds {held}: expected them in {_WEIGHTS}, all in one file")
