"""``.keras`` files: a zip archive with the configuration of a model as JSON and weights as HDF5.

The configuration has the fields of each GRU; ``groups`` finds the arrays of each. GRUs in custom
layers and models, which are not in the configuration, are found by the shapes of their arrays.
Everything else in the archive is ignored, and nothing in it is run.
"""

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.hdf5 import Hdf5
from jaxgru._weights.formats.hdf5.rewriting import with_datasets
from jaxgru._weights.formats.keras.tree import read_groups
from jaxgru._weights.formats.zip import copy_archive, open_archive, read_entry
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.libraries.keras import configured, groups
from jaxgru._weights.libraries.keras.config import LARGEST, Layer, model_of
from jaxgru._weights.libraries.keras.models import whole_model
from jaxgru._weights.results import UNNAMED, GRUsByName, stack_of_all

# The name of a model of a stack written by jaxgru, which is read as that stack.
STACK = "jaxgru_stack"
_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"


def recognizes(look: FileProbe) -> bool:
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
    model, root = model_of(config), read_groups(h5)
    find = functools.partial(_find, root, model, version)
    held = configured.by_layer(root, model)
    layers = {group.path: (name, layer) for name, layer, group in held if group}
    named = groups.names_of(root, layers)
    build = functools.partial(whole_model, model, version, find, named)

    def rewrite(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
        copy_archive(archive, path, {_WEIGHTS: with_datasets(content, arrays)})

    return Stored(h5.all_arrays(), find, named, build, rewrite)


def _find(
    root: groups.Group,
    model: Layer,
    version: str | None,
    arrays: Arrays,
    assume: Mapping[str, Any],
) -> GRUsByName:
    """Return the GRUs in a file, in the order of the layers."""
    gathered = configured.find(arrays, root, model, version, assume)
    if model.name == STACK and (stack := stack_of_all(gathered)) is not None:
        return {UNNAMED: stack}
    return gathered


def _check_whole(names: Sequence[str]) -> None:
    if _WEIGHTS in names:
        return
    other = next((name for name in names if name.startswith("model.weights.")), None)
    held = "no weights" if other is None else f"its weights in {shown(other)}"
    raise WeightsError(f"the archive holds {held}: expected them in {_WEIGHTS}, all in one file")
