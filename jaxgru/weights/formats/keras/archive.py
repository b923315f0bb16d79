"""Keras' ``.keras``: a zip archive of a model's configuration as JSON and its weights as HDF5.

The configuration says what each GRU computes, and ``places`` which arrays are its. GRUs that it
does not tell of, those within a user's own layers and models, are found by their shapes. Whatever
else is in the archive is passed over, and nothing in it is run.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxgru.weights.contract import Look, Source
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5 import Hdf5
from jaxgru.weights.formats.keras import weights_h5
from jaxgru.weights.formats.keras.groups import Group, cell_groups, read_groups
from jaxgru.weights.formats.keras.places import inner_groups, layer_groups
from jaxgru.weights.formats.zip import open_archive, read_entry
from jaxgru.weights.libraries.keras.arrays import to_params
from jaxgru.weights.libraries.keras.cells import GRULayer
from jaxgru.weights.libraries.keras.config import Layer, gru_layer, layers_of, parse_json
from jaxgru.weights.results import Found, Gathered
from jaxgru.weights.unspecified import Settling

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
    root, layers = read_groups(h5), layers_of(config)
    _gather(reading, layers, layer_groups(root, layers), "")
    others = weights_h5.find(h5, root, source.assume, reading.known, reading.gathered)
    return reading.gathered | others


class _Reading(NamedTuple):
    h5: Hdf5
    version: str | None
    assume: Mapping[str, Any]
    gathered: Gathered
    said: dict[str, GRULayer]  # of those with a group, by the layers' own names
    known: set[str]  # paths of the groups of the GRUs gathered


def _gather(
    reading: _Reading, layers: Sequence[Layer], groups: Sequence[Group | None], prefix: str
) -> None:
    for layer, group in zip(layers, groups, strict=True):
        name = prefix + layer.name
        settling = Settling(reading.assume)
        said: GRULayer | None = None
        found: Found | WeightsError | None = None
        try:
            said = gru_layer(layer, reading.version, settling)
            # Models may share a layer: it is stored once.
            is_again = group is None and reading.said.get(layer.name) == said
            if said is not None and not is_again:
                found = _read_layer(reading.h5, said, group, settling)
                reading.said[layer.name] = said
        except WeightsError as error:
            found = error
        if found is None:
            if said is None:
                _gather(reading, layer.inner, inner_groups(group, layer), f"{name}/")
            continue
        if name in reading.gathered:
            raise WeightsError(f"config.json has two layers called {name[:80]!a}: expected one")
        reading.gathered[name] = found
        if group is not None:
            reading.known.add(group.path)


def _read_layer(h5: Hdf5, said: GRULayer, group: Group | None, settling: Settling) -> Found:
    if group is None:
        raise WeightsError(
            f"{_WEIGHTS} has no group for it: expected one for each layer of config.json"
        )
    groups = cell_groups(group)
    if len(groups) != len(said.cells):
        raise WeightsError(
            f"{group.path} has {len(groups)} cells: expected {len(said.cells)}, as in config.json"
        )
    params = [
        to_params([h5.read(path) for path in cell_group.arrays], cell, cell_group.path)
        for cell_group, cell in zip(groups, said.cells, strict=True)
    ]
    return Found(said.assemble(params), (*said.notes, *settling.notes()))


def _check_whole(names: Sequence[str]) -> None:
    if _WEIGHTS in names:
        return
    other = next((name for name in names if name.startswith("model.weights.")), None)
    held = "no weights" if other is None else f"its weights in {other[:80]!a}"
    raise WeightsError(f"the archive holds {held}: expected them in {_WEIGHTS}, all in one file")
