"""Keras' HDF5 files: whole models (``.h5``) of Keras 1 to 3, and files of weights only.

The attribute ``layer_names`` lists the layers, and ``weight_names`` of the group of each layer its
weights. Both are in the order of the model, unlike the groups. In a whole model, they are in
``model_weights``, and the configuration is in ``model_config``. Everything else in a file, such as
the state of an optimizer, is ignored, and no code in it is run. The names of the weights of a cell
are:

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, each_once, result_or_error, shown
from jaxgru._weights.formats.hdf5 import SIGNATURE, Hdf5
from jaxgru._weights.formats.hdf5 import shown as shown_path
from jaxgru._weights.formats.hdf5.rewriting import with_datasets
from jaxgru._weights.formats.keras.tree import read_groups
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.libraries.finding import find as find_named
from jaxgru._weights.libraries.keras.chains import grus, inputs_of
from jaxgru._weights.libraries.keras.config import LARGEST, model_of
from jaxgru._weights.libraries.keras.groups import find, names_of, notes_of
from jaxgru._weights.libraries.keras.listed import Listed
from jaxgru._weights.libraries.keras.models import whole_model
from jaxgru._weights.libraries.keras.named import legacy_names
from jaxgru._weights.libraries.keras.order import assign
from jaxgru._weights.results import GRUsByName, LoadedGRU

_MODEL_WEIGHTS = "model_weights"
_LONGEST_NAME = 512


def recognizes(look: FileProbe) -> bool:
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
        if not is_keras:
            return Stored(h5.all_arrays(), find, rewrite=rewrite)
        return Stored(h5.all_arrays(), find, named, rewrite=rewrite, notes=notes_of(tree))
    named = {}
    for name in names:
        path = f"{root}/{name}" if root else name
        held = [each for each in _names(h5, path, "weight_names") if h5.has_array(f"{path}/{each}")]
        named |= {known: f"{path}/{own}" for known, own in legacy_names(name, held).items()}
    config = h5.text("", "model_config")
    if config is None:
        return Stored(h5.all_arrays(), find, named, None, rewrite)
    version = h5.text(root, "keras_version") or h5.text("", "keras_version") or "1"

    def build(arrays: Arrays, assume: Mapping[str, Any]) -> LoadedGRU:
        model = model_of(parse_json(config, "model_config", LARGEST))
        return whole_model(model, version, find, named, arrays, assume)

    return Stored(h5.all_arrays(), find, named, build, rewrite)


def _find(h5: Hdf5, arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return the GRUs in a file, in the order of the model's layers.

    The configuration has the fields of each. Without a configuration, and in custom layers, GRUs
    are found by the names and shapes of their weights.
    """
    root = _MODEL_WEIGHTS if h5.has_group(_MODEL_WEIGHTS) else ""
    if h5.texts(root, "layer_names") is None:
        found = find(arrays, read_groups(h5), assume)
        # Otherwise it is not a file of Keras 3, and may have the names of any library.
        is_keras = any("vars" in path.split("/") for path in arrays)
        return found if found or is_keras else find_named(arrays, assume)
    config = h5.text("", "model_config")
    model = None if config is None else model_of(parse_json(config, "model_config", LARGEST))
    inner = () if model is None else model.inner
    layers = each_once(((layer.name, layer) for layer in inner), "in model_config the layer ")
    inputs = {} if model is None else inputs_of(model)
    # A file without a version is one of Keras 1, as in Keras.
    version = h5.text(root, "keras_version") or h5.text("", "keras_version") or "1"
    gathered: GRUsByName = {}
    for name in dict.fromkeys((*layers, *_names(h5, root, "layer_names"))):
        path = f"{root}/{name}" if root else name
        group = Listed(arrays, _names(h5, path, "weight_names"), f"{path}/", "/")
        inside = [layers[name]] if name in layers else []
        expected = list(grus(inside, inputs, version, assume))
        if expected:
            places = assign(layers[name], group.places, version)
            for gru in expected:
                gathered[gru.name] = result_or_error(group.found, gru, places[id(gru.layer)])
        else:
            custom = {one.name: one for layer in inside for one in layer.within}
            gathered |= group.by_shape(group.places, name, version, assume, custom)
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
