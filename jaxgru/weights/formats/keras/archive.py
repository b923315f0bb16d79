"""Keras' ``.keras``: a zip archive of a model's configuration as JSON and its weights as HDF5.

The configuration has what each GRU computes; ``groups`` finds the arrays of each. GRUs that are not
in it, those within a user's own layers and models, are found by their shapes. Whatever else is in
the archive is passed over, and nothing in it is run.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxgru.weights.contract import Look, Source
from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.formats.hdf5 import Hdf5
from jaxgru.weights.formats.keras import weights_h5
from jaxgru.weights.formats.keras.groups import (
    Group,
    cell_groups,
    inner_groups,
    layer_groups,
    read_groups,
)
from jaxgru.weights.formats.zip import open_archive, read_entry
from jaxgru.weights.libraries.keras.arrays import GRULayer, to_params
from jaxgru.weights.libraries.keras.chains import in_model, inputs_of
from jaxgru.weights.libraries.keras.config import Layer, gru_layer, model_of, parse_json
from jaxgru.weights.results import UNNAMED, Found, Gathered, stack_of_all
from jaxgru.weights.unspecified import Fields

# The name of a model that jaxgru wrote of a stack, which is read as that stack.
STACK = "jaxgru_stack"
_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"


def recognises(look: Look) -> bool:
    """Tell whether a file is a zip archive with a Keras model's configuration."""
    return look.entries is not None and {_CONFIG, _METADATA} <= set(look.entries)


def read(source: Source) -> Gathered:
    """Return the GRUs in a ``.keras`` file, in the order of the model's layers.

    Raises:
        WeightsError: the archive, its JSON or its HDF5 is damaged or hostile, or its weights are
            not in one HDF5 file.
    """
    with open_archive(source.file, source.size, "a Keras model") as archive:
        _check_whole(archive.namelist())
        metadata, config = (
            parse_json(read_entry(archive, name), name) for name in (_METADATA, _CONFIG)
        )
        content = read_entry(archive, _WEIGHTS)
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    h5 = Hdf5(io.BytesIO(content), len(content))
    known_version = version if isinstance(version, str) else None
    reading = _Reading(h5, known_version, source.assume, {}, {}, set())
    root, model = read_groups(h5), model_of(config)
    _gather(reading, model, layer_groups(root, model.inner), "")
    if model.name == STACK and (stack := stack_of_all(reading.gathered)) is not None:
        return {UNNAMED: stack}
    others = weights_h5.find(h5, root, source.assume, reading.known, reading.gathered)
    return reading.gathered | others


class _Reading(NamedTuple):
    h5: Hdf5
    version: str | None
    assume: Mapping[str, Any]
    gathered: Gathered
    layers: dict[str, GRULayer]  # of those with a group, by the layers' own names
    known: set[str]  # paths of the groups of the GRUs gathered


def _gather(reading: _Reading, model: Layer, groups: Sequence[Group | None], prefix: str) -> None:
    inputs = inputs_of(model)
    for layer, group in zip(model.inner, groups, strict=True):
        name = prefix + layer.name
        fields = Fields(reading.assume)
        gru: GRULayer | None = None
        found: Found | WeightsError | None = None
        try:
            gru = gru_layer(layer, reading.version, fields)
            # Models may share a layer: it is stored once.
            is_again = group is None and reading.layers.get(layer.name) == gru
            if gru is not None and not is_again:
                found = _read_layer(reading.h5, gru, group, fields)
                found = found._replace(inputs=in_model(inputs, layer.name, prefix))
                reading.layers[layer.name] = gru
        except WeightsError as error:
            found = error
        if found is None:
            if gru is None:
                _gather(reading, layer, inner_groups(group, layer), f"{name}/")
            continue
        if name in reading.gathered:
            raise WeightsError(f"config.json has two layers called {shown(name)}: expected one")
        reading.gathered[name] = found
        if group is not None:
            reading.known.add(group.path)


def _read_layer(h5: Hdf5, gru: GRULayer, group: Group | None, fields: Fields) -> Found:
    if group is None:
        raise WeightsError(
            f"{_WEIGHTS} has no group for it: expected one for each layer of config.json"
        )
    groups = cell_groups(group)
    if len(groups) != len(gru.cells):
        raise WeightsError(
            f"{group.path} has {len(groups)} cells: expected {len(gru.cells)}, as in config.json"
        )
    params = [
        to_params([h5.read(path) for path in cell_group.arrays], cell, cell_group.path)
        for cell_group, cell in zip(groups, gru.cells, strict=True)
    ]
    return Found(gru.assemble(params), (*gru.notes, *fields.notes()))


def _check_whole(names: Sequence[str]) -> None:
    if _WEIGHTS in names:
        return
    other = next((name for name in names if name.startswith("model.weights.")), None)
    held = "no weights" if other is None else f"its weights in {shown(other)}"
    raise WeightsError(f"the archive holds {held}: expected them in {_WEIGHTS}, all in one file")
