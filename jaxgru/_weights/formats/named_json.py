"""Weights in JSON: RTNeural's models, and arrays by name as nested lists.

========  =======================================================================================
layout    what it is
========  =======================================================================================
layers    ``{"in_shape": ..., "layers": [{"type": "gru", "activation": "tanh", "weights": ...}]}``
          as RTNeural exports Keras and newer PyTorch models: Keras' arrays, biases ``(2, 3H)``
names     a PyTorch state dict, ``{"gru.weight_ih_l0": [[...], ...]}``, alone or within objects
========  =======================================================================================

JSON does not store dtypes. The arrays are float32 if that is exact for every number, as it is for
float32 numbers written with all digits; otherwise float64.

Source: RTNeural's ``model_utils.py``, ``model_utils_torch.py`` and ``torch_helpers.h``.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxgru._activations import ACTIVATIONS
from jaxgru._net import Net
from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.defaults import Fields
from jaxgru._weights.dtypes import Arrays, Unread
from jaxgru._weights.errors import WeightsError, each_once, shown
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.libraries.keras.arrays import params_of
from jaxgru._weights.libraries.names import attempt
from jaxgru._weights.limits import MAX_AXES
from jaxgru._weights.results import GRUsByName

_OBJECT = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*["}]')
_DEEPEST = 32


def recognizes(look: FileProbe) -> bool:
    """Return whether a file begins like a JSON object."""
    return _OBJECT.match(look.head) is not None


def read(source: Source) -> Stored:
    """Return the arrays of a model, see ``Format.read``."""
    tree = parse_json(source.file.read(), "it")
    layers = tree.get("layers")
    if isinstance(layers, list) and "in_shape" in tree:
        return _of_layers(layers)
    return Stored(_as_floats(each_once(_arrays_of_tree(tree, (), 0))))


def _of_layers(layers: list[Any]) -> Stored:
    named: dict[str, dict[str, Any]] = {}
    arrays: dict[str, Any] = {}
    kinds: list[str] = []
    for layer in layers:
        kind = str(layer.get("type")) if isinstance(layer, dict) else ""
        kinds.append(kind)
        if not kind:
            continue
        count = kinds.count(kind) - 1
        name = layer.get("name") or (f"{kind}_{count}" if count else kind)
        if not isinstance(name, str) or name in named:
            raise WeightsError(f"two layers are called {shown(name)}: expected a name for each")
        named[name] = layer
        weights = layer.get("weights")
        held = enumerate(weights if isinstance(weights, list) else ())
        arrays |= _as_floats({f"{name}/{i}": _array(weight) for i, weight in held})
    return Stored(arrays, functools.partial(_find_layers, named, kinds))


def _find_layers(
    named: Mapping[str, dict[str, Any]],
    kinds: list[str],
    arrays: Arrays,
    assume: Mapping[str, Any],
) -> GRUsByName:
    gathered = {
        name: attempt(functools.partial(_layer, name, layer, arrays), assume)
        for name, layer in named.items()
        if layer.get("type") == "gru"
    }
    if not gathered:
        found = shown(", ".join(kinds[:10]))
        raise WeightsError(f"its {len(kinds)} layers are {found}: expected one of type gru")
    return gathered


def _layer(name: str, layer: dict[str, Any], arrays: Arrays, fields: Fields) -> Net:
    weights = layer.get("weights")
    if not isinstance(weights, list) or len(weights) not in (2, 3):
        raise WeightsError("weights is not a list of two or three arrays: expected Keras' arrays")
    names = ("kernel", "recurrent_kernel", "bias")
    own = {known: arrays[f"{name}/{i}"] for i, known in enumerate(names[: len(weights)])}
    for known_name, array in own.items():
        if isinstance(array, Unread):
            raise WeightsError(f"{known_name} holds {array.dtype}: expected rows of numbers")
    known = {"activation": layer["activation"]} if layer.get("activation") in ACTIVATIONS else {}
    fields.resolve("reverse", False)
    return params_of(own, names, fields, **known)


def _arrays_of_tree(tree: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the lists in objects, named by the keys of their paths joined with dots."""
    if depth > _DEEPEST:
        raise WeightsError(f"its objects are nested over {_DEEPEST} levels: expected fewer")
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _arrays_of_tree(value, (*path, key), depth + 1)
        elif isinstance(value, list):
            yield ".".join((*path, key)), _array(value)


def _array(value: Any) -> Any:
    """Return nested lists of numbers as float64, and other lists as Unread."""
    shape: list[int] = []
    level = [value]
    while level and type(level[0]) is list:
        shape.append(len(level[0]))
        if len(shape) > MAX_AXES or any(
            type(row) is not list or len(row) != shape[-1] for row in level
        ):
            return Unread((), "lists of different lengths")
        level = [item for row in level for item in row]
    if any(type(number) not in (int, float) for number in level):
        return Unread(tuple(shape), "no numbers")
    try:
        return np.array(level, np.float64).reshape(shape)
    except OverflowError:
        return Unread(tuple(shape), "numbers beyond float64")


def _as_floats(arrays: dict[str, Any]) -> Arrays:
    """Return arrays as float32 if that is exact."""
    read = {name: array for name, array in arrays.items() if not isinstance(array, Unread)}
    with np.errstate(over="ignore"):
        singles = {name: array.astype(np.float32) for name, array in read.items()}
    same = all(np.array_equal(read[name], singles[name], equal_nan=True) for name in read)
    return arrays | singles if same else arrays
