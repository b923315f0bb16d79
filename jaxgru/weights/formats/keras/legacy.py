"""Keras' older HDF5 files: whole models (``.h5``) of Keras 1 to 3, and weights alone.

The attribute ``layer_names`` lists the layers, and ``weight_names`` of each layer's group its
weights; both are in the model's order, which that of the groups is not. A whole model has this
within ``model_weights``, and its configuration in ``model_config``. What else is in a file, such
as an optimiser's state, is passed over; nothing in it is run.
"""

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from jaxgru.net import Net
from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.formats.hdf5 import Hdf5
from jaxgru.weights.formats.hdf5 import shown as shown_path
from jaxgru.weights.formats.keras.weight_names import Directions, Place, as_layers, find_places
from jaxgru.weights.libraries.keras.arrays import GRULayer, cell_from_arrays, join_gates, to_params
from jaxgru.weights.libraries.keras.chains import in_model, inputs_of
from jaxgru.weights.libraries.keras.config import Layer, gru_layer, model_of, parse_json
from jaxgru.weights.results import Found, Gathered
from jaxgru.weights.unspecified import Fields

_MODEL_WEIGHTS = "model_weights"
_KERAS_1 = 9  # arrays of a cell there
_LONGEST_NAME = 512


def recognises(h5: Hdf5) -> bool:
    """Tell whether an HDF5 file is of this layout."""
    return h5.texts(_weights_root(h5), "layer_names") is not None


def read(h5: Hdf5, assume: Mapping[str, Any]) -> Gathered:
    """Return the GRUs in a file, in the order of the model's layers.

    A configuration has what each computes. GRUs that are not in it, as those of a user's own
    layers, and all where there is none, are found by the names and shapes of their weights.

    Raises:
        WeightsError: the file or its configuration is damaged.
    """
    root = _weights_root(h5)
    names = _names(h5, root, "layer_names")
    config = h5.text("", "model_config")
    model = None if config is None else model_of(parse_json(config, "model_config"))
    layers = _by_name(model)
    inputs = {} if model is None else inputs_of(model)
    # Keras takes files without a version for those of Keras 1, which wrote none.
    version = h5.text(root, "keras_version") or h5.text("", "keras_version") or "1"
    gathered: Gathered = {}
    for name in dict.fromkeys((*layers, *names)):
        group = _Group(h5, f"{root}/{name}" if root else name)
        expected = list(_grus(layers[name], "", inputs, version, assume)) if name in layers else []
        found = (
            _configured(group, expected) if expected else _by_shape(group, name, version, assume)
        )
        gathered.update(found)
    return gathered


def _names(h5: Hdf5, path: str, attribute: str) -> tuple[str, ...]:
    names = h5.texts(path, attribute) or ()
    for name in names:
        if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
            raise WeightsError(
                f"{attribute} of {shown_path(path)} has {shown(name)}: expected printable names of "
                f"1 to {_LONGEST_NAME} characters"
            )
    return names


def _weights_root(h5: Hdf5) -> str:
    return _MODEL_WEIGHTS if h5.has_group(_MODEL_WEIGHTS) else ""


def _by_name(model: Layer | None) -> dict[str, Layer]:
    layers: dict[str, Layer] = {}
    for layer in () if model is None else model.inner:
        if layer.name in layers:
            raise WeightsError(
                f"model_config has two layers called {shown(layer.name)}: expected one"
            )
        layers[layer.name] = layer
    return layers


class _Expected(NamedTuple):
    """A GRU in the configuration, or why no net can hold it."""

    name: str
    layer: GRULayer | WeightsError
    fields: Fields
    inputs: str | None = None  # see Found


def _grus(
    layer: Layer,
    prefix: str,
    inputs: Mapping[str, str],
    version: str,
    assume: Mapping[str, Any],
) -> Iterator[_Expected]:
    """Give the GRUs that a layer is or holds, given the inputs of the GRUs beside it."""
    name = f"{prefix}{layer.name}"
    fields = Fields(assume)
    try:
        gru = gru_layer(layer, version, fields)
    except WeightsError as error:
        yield _Expected(name, error, fields)
        return
    if gru is not None:
        yield _Expected(name, gru, fields, in_model(inputs, layer.name, prefix))
        return
    within = inputs_of(layer)
    for inner in layer.inner:
        yield from _grus(inner, f"{name}/", within, version, assume)


class _Group:
    """The group of a layer of the model, and the recurrent cells in it."""

    def __init__(self, h5: Hdf5, path: str) -> None:
        self._h5 = h5
        self._path = path
        names = _names(h5, path, "weight_names")
        self.places = [place for place in find_places(names) if self._is_gru(place)]

    def read(self, place: Place) -> list[NDArray[Any]]:
        """Return a cell's arrays in the order of ``get_weights``."""
        arrays = [self._h5.read(f"{self._path}/{name}") for name in place.arrays]
        return join_gates(arrays, self.shown(place)) if len(arrays) == _KERAS_1 else arrays

    def shown(self, place: Place) -> str:
        """Return the name of a cell for messages."""
        return shown_path(f"{self._path}/{place.path}".rstrip("/"))

    def _is_gru(self, place: Place) -> bool:
        """Tell whether a recurrent cell has the three gates of a GRU."""
        paths = [f"{self._path}/{name}" for name in place.arrays]
        if not all(map(self._h5.has_array, paths)):
            return False
        if len(paths) == _KERAS_1:
            return True
        shape = self._h5.shape(paths[1])
        return len(shape) == 2 and shape[1] == 3 * shape[0]


def _configured(group: _Group, expected: Sequence[_Expected]) -> Gathered:
    gathered: Gathered = {}
    for gru, places in zip(expected, _matched(group.places, expected), strict=True):
        try:
            gathered[gru.name] = _build(group, gru, places)
        except WeightsError as error:
            gathered[gru.name] = error
    return gathered


def _matched(places: list[Place], expected: Sequence[_Expected]) -> list[list[Place]]:
    """Return the places of each GRU in one group, which are several within a nested model."""
    if len(expected) == 1:
        return [places]
    wanted = [len(gru.layer.cells) if isinstance(gru.layer, GRULayer) else 0 for gru in expected]
    by_part = collections.defaultdict(list)
    for place in places:
        for part in set(place.path.split("/")):
            by_part[part].append(place)
    named = [by_part[gru.name.rpartition("/")[2]] for gru in expected]
    if [len(found) for found in named] == wanted or sum(wanted) != len(places):
        return named
    rest = iter(places)
    return [[next(rest) for _ in range(count)] for count in wanted]


def _build(group: _Group, gru: _Expected, places: Sequence[Place]) -> Found:
    if isinstance(gru.layer, WeightsError):
        raise gru.layer
    cells = gru.layer.cells
    if len(places) != len(cells):
        raise WeightsError(
            f"the file has the weights of {len(places)} cells for it: expected {len(cells)}, as "
            "in model_config"
        )
    params = [
        to_params(group.read(place), cell, group.shown(place))
        for place, cell in zip(places, cells, strict=True)
    ]
    notes = (*gru.layer.notes, *gru.fields.notes())
    return Found(gru.layer.assemble(params), notes, gru.inputs)


def _by_shape(group: _Group, name: str, version: str, assume: Mapping[str, Any]) -> Gathered:
    layers = as_layers(group.places)
    gathered: Gathered = {}
    for layer in layers:
        # A layer's group repeats the layer's name, but that of a nested model has several.
        inner = layer.name.removeprefix(f"{name}/")
        own = name if len(layers) == 1 else f"{name}/{inner}"
        fields = Fields(assume)
        try:
            gathered[own] = Found(_guessed(group, layer, version, fields), fields.notes())
        except WeightsError as error:
            gathered[own] = error
    return gathered


def _guessed(group: _Group, layer: Directions, version: str, fields: Fields) -> Net:
    params, sides = [], []
    for places in filter(None, (layer.forward, layer.backward)):
        cells = []
        for place in places:
            arrays, where = group.read(place), group.shown(place)
            cells.append(cell_from_arrays(arrays, fields, where, version))
            params.append(to_params(arrays, cells[-1], where))
        sides.append(tuple(cells))
    if len(sides) == 2:
        return GRULayer(tuple(sides), merge=fields.resolve("merge")).assemble(params)
    return GRULayer(tuple(sides), is_backward=fields.resolve("reverse")).assemble(params)
