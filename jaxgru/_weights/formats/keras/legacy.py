"""Keras' HDF5 files: whole models (``.h5``) of Keras 1 to 3, and weights alone.

The attribute ``layer_names`` lists the layers, and ``weight_names`` of the group of each layer its
weights. Both are in the order of the model, unlike the groups. In a whole model, they are in
``model_weights``, and the configuration is in ``model_config``. Everything else in a file, such as
the state of an optimizer, is ignored; nothing in it is run. The names of the weights of a cell are:

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

import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jaxgru._net import Net
from jaxgru._weights.contract import Look, Source, Stored
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, each_once, listed, outcome, shown
from jaxgru._weights.formats.hdf5 import SIGNATURE, Hdf5
from jaxgru._weights.formats.hdf5 import shown as shown_path
from jaxgru._weights.formats.hdf5.rewriting import with_datasets
from jaxgru._weights.formats.keras.groups import find, names_of, read_groups
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.libraries.finding import find as find_named
from jaxgru._weights.libraries.keras.arrays import join_gates, net_from_arrays
from jaxgru._weights.libraries.keras.chains import Configured, grus, inputs_of
from jaxgru._weights.libraries.keras.config import LARGEST, Layer, check_subclass, model_of
from jaxgru._weights.libraries.keras.models import whole_model
from jaxgru._weights.libraries.keras.named import legacy_names
from jaxgru._weights.libraries.keras.names import Place, as_layers, find_places
from jaxgru._weights.libraries.keras.order import assign
from jaxgru._weights.libraries.names import attempt
from jaxgru._weights.results import Found, Gathered
from jaxgru._weights.unspecified import Fields

_MODEL_WEIGHTS = "model_weights"
_KERAS_1 = 9  # arrays of a cell there
_LONGEST_NAME = 512
_MOST_CELLS = 6  # of a stack whose order follows from their shapes


def recognises(look: Look) -> bool:
    """Return whether a file is an HDF5 file, as all files of Keras except ``.keras``."""
    return look.head.startswith(SIGNATURE)


def read(source: Source) -> Stored:
    """Return the arrays of an HDF5 file that Keras wrote, by path."""
    h5 = Hdf5(source.file, source.size)
    find = functools.partial(_find, h5)

    def rewrite(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
        source.file.seek(0)
        path.write_bytes(with_datasets(source.file.read(), arrays))

    root = _MODEL_WEIGHTS if h5.has_group(_MODEL_WEIGHTS) else ""
    if (names := h5.texts(root, "layer_names")) is None:
        tree = read_groups(h5)
        # Without the arrays of any Keras 3 object, names are those of the file.
        named = names_of(tree)
        is_keras = any("vars" in path.split("/") for path in named.values())
        return Stored(h5.all_arrays(), find, named if is_keras else None, None, rewrite)
    named = {}
    for name in names:
        path = f"{root}/{name}" if root else name
        held = [each for each in _names(h5, path, "weight_names") if h5.has_array(f"{path}/{each}")]
        named |= {known: f"{path}/{own}" for known, own in legacy_names(name, held).items()}
    config = h5.text("", "model_config")
    if config is None:
        return Stored(h5.all_arrays(), find, named, None, rewrite)
    version = h5.text(root, "keras_version") or h5.text("", "keras_version") or "1"

    def build(arrays: Arrays, assume: Mapping[str, Any]) -> Found:
        model = model_of(parse_json(config, "model_config", LARGEST))
        return whole_model(model, version, find, named, arrays, assume)

    return Stored(h5.all_arrays(), find, named, build, rewrite)


def _find(h5: Hdf5, arrays: Arrays, assume: Mapping[str, Any]) -> Gathered:
    """Return the GRUs in a file, in the order of the model's layers.

    The configuration has the fields of each. Without a configuration, and in custom layers, GRUs
    are found by the names and shapes of their weights.
    """
    h5 = h5.with_values(arrays)
    root = _MODEL_WEIGHTS if h5.has_group(_MODEL_WEIGHTS) else ""
    if h5.texts(root, "layer_names") is None:
        found = find(h5, read_groups(h5), assume)
        # Else it is no file of Keras 3, and has arrays under any library's names.
        is_keras = any("vars" in path.split("/") for path in arrays)
        return found if found or is_keras else find_named(arrays, assume)
    config = h5.text("", "model_config")
    model = None if config is None else model_of(parse_json(config, "model_config", LARGEST))
    inner = () if model is None else model.inner
    layers = each_once(((layer.name, layer) for layer in inner), "in model_config the layer ")
    inputs = {} if model is None else inputs_of(model)
    # A file without a version is one of Keras 1, as in Keras.
    version = h5.text(root, "keras_version") or h5.text("", "keras_version") or "1"
    gathered: Gathered = {}
    for name in dict.fromkeys((*layers, *_names(h5, root, "layer_names"))):
        group = _Group(h5, f"{root}/{name}" if root else name)
        inside = [layers[name]] if name in layers else []
        expected = list(grus(inside, inputs, version, assume))
        if expected:
            places = assign(layers[name], group.places, version)
            for gru in expected:
                gathered[gru.name] = outcome(_found, group, gru, places[id(gru.layer)])
        else:
            custom = {one.name: one for layer in inside for one in layer.within}
            gathered |= _by_shape(group, name, version, assume, custom)
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


class _Group:
    """The group of a layer of the model, and the recurrent cells in it."""

    def __init__(self, h5: Hdf5, path: str) -> None:
        self._h5 = h5
        self._path = path
        names = _names(h5, path, "weight_names")
        self.places = [place for place in find_places(names) if self._is_gru(place)]

    def read(self, places: Sequence[Place]) -> list[tuple[list[NDArray[Any]], str]]:
        """Return the arrays of cells in the order of ``get_weights``, and the name of each."""
        cells = []
        for place in places:
            where = shown_path(f"{self._path}/{place.path}".rstrip("/"))
            arrays = [self._h5.read(f"{self._path}/{name}") for name in place.arrays]
            cells.append((join_gates(arrays, where) if len(arrays) == _KERAS_1 else arrays, where))
        return cells

    def sizes(self, place: Place) -> tuple[int, ...]:
        """Return the number of inputs and of units of a cell."""
        shapes = [self._h5.shape(f"{self._path}/{name}") for name in place.arrays[:2]]
        return tuple(shape[0] if shape else 0 for shape in shapes)

    def _is_gru(self, place: Place) -> bool:
        """Return whether a recurrent cell has the three gates of a GRU."""
        paths = [f"{self._path}/{name}" for name in place.arrays]
        if not all(map(self._h5.has_array, paths)):
            return False
        shape = self._h5.shape(paths[1])
        return len(paths) == _KERAS_1 or (len(shape) == 2 and shape[1] == 3 * shape[0])


def _found(group: _Group, gru: Configured, places: Sequence[Place]) -> Found:
    count = len(gru.checked().cells)
    if len(places) != count:
        raise WeightsError(
            f"the file shows the weights of {len(places)} cells for it, by name or by order: "
            f"expected {count}, as in model_config"
        )
    return gru.found(group.read(places))


def _by_shape(
    group: _Group, name: str, version: str, assume: Mapping[str, Any], custom: Mapping[str, Layer]
) -> Gathered:
    layers = as_layers(group.places)
    gathered: Gathered = {}
    for path, sides in layers:
        # The group of a layer repeats its name; that of a nested model has several layers.
        own = name if len(layers) == 1 else f"{name}/{path.removeprefix(f'{name}/')}"
        layer = custom.get(path.rpartition("/")[2] or name)
        guess = functools.partial(_guessed, group, sides, version, layer)
        gathered[own] = attempt(guess, assume)
    return gathered


def _guessed(
    group: _Group, sides: list[list[Place]], version: str, custom: Layer | None, fields: Fields
) -> Net:
    if custom is not None:
        check_subclass(custom, fields)
    return net_from_arrays([group.read(_in_order(group, side)) for side in sides], fields, version)


def _in_order(group: _Group, cells: list[Place]) -> list[Place]:
    """Return the cells of a stack, first one first.

    It is known if only one order has shapes that fit, or if that of the file, which may have frozen
    cells last, is also that of the numbers, which count cells as they were made.
    """
    orders = itertools.permutations(cells) if len(cells) <= _MOST_CELLS else ()
    sizes = {cell: group.sizes(cell) for cell in cells}
    fitting = [
        order
        for order in orders
        if all(sizes[a][1] == sizes[b][0] for a, b in itertools.pairwise(order))
    ]
    if len(fitting) == 1:
        return list(fitting[0])
    counted = [cell.counted for cell in cells]
    if counted != sorted(set(counted)) or len({name for name, _ in counted}) > 1:
        raise WeightsError(
            f"its cells are {listed([cell.path for cell in cells])} in the order of the file, "
            "which may have frozen ones last: expected a file with the configuration of the model"
        )
    return cells
