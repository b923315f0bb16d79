"""TensorFlow's checkpoints and SavedModels, given their place."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgru._weights.contract import IN_TENSORFLOW, Stored
from jaxgru._weights.dtypes import Arrays, OnAccess
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.tensorflow.bundle import read_index
from jaxgru._weights.formats.tensorflow.object_graph import Node, Tree, reach, read_nodes, read_tree
from jaxgru._weights.formats.tensorflow.saved_model import Configuration, read_configuration
from jaxgru._weights.libraries import tensorflow
from jaxgru._weights.libraries.keras import configured, groups
from jaxgru._weights.libraries.keras import names as keras
from jaxgru._weights.libraries.keras.config import Layer
from jaxgru._weights.libraries.keras.models import whole_model
from jaxgru._weights.results import GRUsByName, LoadedGRU

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_OF_OPTIMIZER = "_trainable_variables"
_LEFT_OUT = (
    "Keras 3's tf.train.Checkpoint leaves out layers in lists and dicts, whose weights are then "
    'not in the file: model.save_weights("model.weights.h5") writes all'
)


def read(place: Path) -> Stored:
    """Return the variables of the checkpoint with an index, or of the SavedModel in a folder."""
    is_model = place.is_dir()
    index = place / "variables" / "variables.index" if is_model else place
    if index.suffix != ".index":
        raise WeightsError(
            f"its name is {shown(index.name)}, and it is a table of TensorFlow: expected an .index "
            "with its shards beside it, or, of a checkpoint of the first format, which is one "
            "file, an .npz that TensorFlow writes of it: reader = tf.train.load_checkpoint(path); "
            "numpy.savez(new_path, **{name: reader.get_tensor(name) for name in "
            "reader.get_variable_to_shape_map()})"
        )
    bundle = read_index(index)
    graph = bundle.text(_GRAPH)
    if graph is None:
        return Stored(bundle.arrays, instead=IN_TENSORFLOW)
    nodes = read_nodes(graph)
    held = read_configuration(place, nodes) if is_model else None
    tree = read_tree(nodes, held.kinds if held else {})
    named = {name: key for name, key in tree.named.items() if key in bundle.arrays}
    named |= {key: key for key in bundle.arrays if key not in set(named.values())}
    if held is None:
        found = functools.partial(_find, nodes, tree, None, None)
        return Stored(bundle.arrays, found, named, instead=IN_TENSORFLOW)
    model = held.model(_layers_within(nodes, held))
    found = functools.partial(_find, nodes, tree, model, held.version)
    whole = functools.partial(whole_model, model, held.version, found, named)
    return Stored(bundle.arrays, found, named, whole, instead=IN_TENSORFLOW)


def _find(
    nodes: list[Node],
    tree: Tree,
    model: Layer | None,
    version: str | None,
    arrays: Arrays,
    assume: Mapping[str, Any],
) -> GRUsByName:
    """Return the GRUs by the objects, and those in lists or with TensorFlow 1's variables."""
    if model is not None:
        gathered = configured.find(arrays, tree.root, model, version, assume)
    else:
        gathered = groups.find(arrays, tree.root, assume)
    listed = {name: key for name, key in tree.cells.items() if key in arrays}
    # First names, where each is that of one variable.
    first: dict[str, list[str]] = {}
    for node in nodes:
        if node.key in arrays and not node.key.startswith(".") and node.full_name:
            first.setdefault(node.full_name, []).append(node.key)
    once = {name: keys[0] for name, keys in first.items() if len(keys) == 1}
    for more in (
        keras.find(OnAccess(listed, lambda name: arrays[listed[name]]), assume),
        tensorflow.find(OnAccess(once, lambda name: arrays[once[name]]), assume),
    ):
        gathered |= {name: found for name, found in more.items() if name not in gathered}
    if not gathered:
        raise WeightsError(
            f"no GRU is among its {len(arrays)} variables and {len(nodes)} objects: expected an "
            f"object with kernel, recurrent_kernel and bias; {_LEFT_OUT}"
        )
    # With an optimizer, its list has the weights of such layers too.
    if tree.is_of_keras_3 and not any(_OF_OPTIMIZER in node.children for node in nodes):
        for name, found in gathered.items():
            if isinstance(found, LoadedGRU):
                gathered[name] = found._replace(notes=(*found.notes, _LEFT_OUT))
    for name in tree.empty:
        error = WeightsError(f"it has no cells with weights: expected some; {_LEFT_OUT}")
        gathered.setdefault(name, error)
    return gathered


def _layers_within(nodes: list[Node], held: Configuration) -> dict[int, list[int]]:
    """Return the layers in each layer, by way of lists and other objects without one."""
    found: dict[int, list[int]] = {number: [] for number in (0, *held.kinds)}
    owners: dict[int, int] = {}  # the layer around each object
    for number, (parent, _) in reach(nodes).items():  # a parent comes before its children
        owner = parent if parent in found else owners.get(parent, 0)
        owners[number] = owner
        if number in held.kinds and number:
            found[owner].append(number)
    return found
