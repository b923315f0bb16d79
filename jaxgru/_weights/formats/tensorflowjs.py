"""Layers models of TensorFlow.js: ``model.json``, and files with the weights beside it.

==================  ===============================================================================
key                 what it is
==================  ===============================================================================
modelTopology       the configuration of a Keras model with ``keras_version``; TensorFlow.js itself
                    writes ``"tfjs-layers ..."`` there, and computes as Keras 2
weightsManifest     groups, each the names of files and a list of weights; a group is its files one
                    after another, in which the weights follow one another
quantization        of a weight: ``float16``, or ``uint8`` and ``uint16`` with ``scale`` and ``min``
==================  ===============================================================================

The order of the weights is that of the layers, perhaps with the frozen ones last, which the file
does not show. So names decide, see ``order.assign``.

Source: ``tfjs-core/src/io/types.ts``, ``tfjs-core/src/io/io_utils.ts``,
``tfjs-converter/python/tensorflowjs/write_weights.py``.
"""

import collections
import functools
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru._net import unroll
from jaxgru._weights.beside import beside, open_beside, size_beside
from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.dtypes import FLOATS, Arrays, Unread
from jaxgru._weights.errors import WeightsError, each_once, result_or_error, shown
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.libraries.keras.chains import grus, inputs_of, is_model
from jaxgru._weights.libraries.keras.config import LARGEST, Layer, model_of
from jaxgru._weights.libraries.keras.listed import Listed
from jaxgru._weights.libraries.keras.models import whole_model
from jaxgru._weights.libraries.keras.named import legacy_names
from jaxgru._weights.libraries.keras.order import assign
from jaxgru._weights.limits import Budget, bytes_of, fill
from jaxgru._weights.results import GRUsByName, LoadedGRU

MODEL = "model.json"
_KEYS = re.compile(rb'\s*\{.*"(?:modelTopology|weightsManifest|layers-model|graph-model)"', re.S)
_INSTEAD = (
    "tensorflowjs_converter --input_format tfjs_layers_model --output_format keras model.json "
    "model.h5 writes one that is, and with --input_format keras model.h5 folder it goes back"
)
_LIBRARY = "tfjs-layers"
# The types of a weight by the name in the file; others than floats are not read.
_SIZES = {"float32": 4, "float16": 2, "int32": 4, "bool": 1, "complex64": 8}
_QUANTIZED = {"float16": "<f2", "uint8": "<u1", "uint16": "<u2"}


def recognizes(look: FileProbe) -> bool:
    """Return whether a file is the ``model.json`` of a model of TensorFlow.js."""
    return _KEYS.match(look.head) is not None


def read(source: Source) -> Stored:
    """Return the arrays of a layers model, by their names in the manifest."""
    tree = parse_json(source.file.read(LARGEST + 1), "it", LARGEST)
    topology = tree.get("modelTopology")
    if not isinstance(topology, dict) or "node" in topology:
        raise WeightsError(
            "it is a graph model of TensorFlow.js, or weights without their model: expected a "
            "layers model; the Keras model or the SavedModel that it was converted from is read"
        )
    version = topology.get("keras_version")
    version = version if isinstance(version, str) else None
    if version is not None and version.startswith(_LIBRARY):
        version = "2"
    model = model_of(topology.get("model_config", topology))
    budget = Budget(source.size)
    arrays = each_once(
        _arrays_of_manifest(tree.get("weightsManifest"), source.folder, budget), "the weight "
    )
    find = functools.partial(_find, model, version)
    named = _names_of(model, arrays)
    build = functools.partial(whole_model, model, version, find, named)
    return Stored(arrays, find, named, build, instead=_INSTEAD)


def _arrays_of_manifest(
    manifest: Any, folder: Path | None, budget: Budget
) -> Iterator[tuple[str, Unread]]:
    """Yield each weight by its name; all sizes are checked before any is read."""
    _expect(isinstance(manifest, list), "weightsManifest", manifest, "a list of groups")
    known: set[str] = set()
    for i, group in enumerate(manifest):
        what = f"group {i} of weightsManifest"
        paths: Any = group.get("paths") if isinstance(group, dict) else None
        weights: Any = group.get("weights") if isinstance(group, dict) else None
        _expect(isinstance(paths, list) and isinstance(weights, list), what, group, "its lists")
        sizes = {}
        for name in paths:
            sizes[name] = size_beside(beside(folder, name))
            _expect(name not in known, "a file", name, "each once")
            known.add(name)
        budget.file_size += sum(sizes.values())
        at = 0
        for weight in weights:
            one = _weight(weight)
            begin, at = at, at + one.size
            get = functools.partial(_read, folder, sizes, begin, one, budget)
            is_float = one.dtype in FLOATS
            yield one.name, Unread(one.shape, one.dtype, get if is_float else None)
        if at != sum(sizes.values()):
            raise WeightsError(
                f"{what} has weights of {at} bytes: expected the {sum(sizes.values())} bytes of "
                "its files"
            )


class _Weight(NamedTuple):
    name: str
    shape: tuple[int, ...]
    dtype: str  # of its numbers
    size: int  # in bytes, in the file
    stored: str  # as which its numbers are in the file
    scale: float | None = None  # of integers, with the least number
    least: float = 0.0


def _weight(entry: Any) -> _Weight:
    name: Any = entry.get("name") if isinstance(entry, dict) else None
    _expect(isinstance(name, str) and name.isprintable(), "a weight", entry, "a name and a shape")
    what = f"weight {shown(name)}"
    shape, dtype = entry.get("shape"), entry.get("dtype")
    is_shape = isinstance(shape, list) and all(type(size) is int for size in shape)
    _expect(is_shape, f"the shape of {what}", shape, "a list of integers")
    is_known = isinstance(dtype, str) and dtype in _SIZES
    _expect(is_known, f"the dtype of {what}", dtype, f"one of {', '.join(_SIZES)}")
    shape, how = tuple(shape), entry.get("quantization")
    if how is None:
        size = bytes_of(what, shape, _SIZES[dtype])
        return _Weight(name, shape, dtype, size, "<f2" if dtype == "float16" else "<f4")
    kind: Any = how.get("dtype") if isinstance(how, dict) else None
    is_known = isinstance(kind, str) and kind in _QUANTIZED
    _expect(is_known, f"the quantization of {what}", how, " or ".join(_QUANTIZED))
    stored = _QUANTIZED[kind]
    size = bytes_of(what, shape, np.dtype(stored).itemsize)
    if kind == "float16":
        return _Weight(name, shape, dtype, size, stored)
    scale, least = how.get("scale"), how.get("min")
    is_finite = all(type(n) in (int, float) and abs(n) < math.inf for n in (scale, least))
    _expect(is_finite, f"the quantization of {what}", how, "finite numbers for scale and min")
    return _Weight(name, shape, dtype, size, stored, float(scale), float(least))


def _read(
    folder: Path | None, sizes: Mapping[str, int], begin: int, weight: _Weight, budget: Budget
) -> NDArray[Any]:
    """Return the numbers of a weight from its files."""
    budget.spend(weight.size)
    content, end = bytearray(weight.size), begin + weight.size
    ends = list(itertools.accumulate(sizes.values()))
    for name, (start, stop) in zip(sizes, itertools.pairwise([0, *ends]), strict=True):
        low, high = max(start, begin), min(stop, end)
        if low < high:
            with open_beside(beside(folder, name)) as file:
                file.seek(low - start)
                try:
                    fill(file, memoryview(content)[low - begin : high - begin])
                except EOFError:
                    raise WeightsError(f"its file {shown(name)} has changed: reopen it") from None
    numbers = np.frombuffer(content, weight.stored).reshape(weight.shape)
    if weight.scale is not None:
        # In float64 and then rounded, as in TensorFlow.js and its converter.
        budget.spend(8 * numbers.size)
        with np.errstate(over="ignore"):
            numbers = (numbers * np.float64(weight.scale) + weight.least).astype(weight.dtype)
    return numbers.astype(FLOATS[weight.dtype])


def _expect(is_met: bool, what: str, found: Any, expected: str) -> None:
    if not is_met:
        raise WeightsError(f"{what} is {shown(found)}: expected {expected}")


def _find(
    model: Layer, version: str | None, arrays: Arrays, assume: Mapping[str, Any]
) -> GRUsByName:
    """Return the GRUs of a model, in the order of its layers."""
    weights = Listed(arrays, arrays)
    places = assign(model, weights.places, None)
    gathered: GRUsByName = {}
    for gru in grus(model.inner, inputs_of(model), version, assume):
        found = result_or_error(weights.found, gru, places[id(gru.layer)])
        if isinstance(found, LoadedGRU) and (version or "").startswith("3"):
            found = _with_hard_sigmoid(found)
        gathered[gru.name] = found
    if not any(isinstance(found, WeightsError) for found in gathered.values()):
        known = [place for held in places.values() for place in held]
        left = [place for place in weights.places if place not in known]
        custom = {layer.name: layer for layer in model.within if not is_model(layer)}
        gathered |= weights.by_shape(left, "", version, assume, custom)
    return gathered


def _with_hard_sigmoid(found: LoadedGRU) -> LoadedGRU:
    used = [layer.params for layer in unroll(found.net)]
    if not any("hard_sigmoid" in (one.activation, one.recurrent_activation) for one in used):
        return found
    note = (
        "hard_sigmoid is that of Keras 3, x / 6 + 0.5: TensorFlow.js computes 0.2 x + 0.5, as "
        "override={'recurrent_activation': 'hard_sigmoid_keras2'} does"
    )
    return found._replace(notes=(*found.notes, note))


def _names_of(model: Layer, weights: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the weights by those that users see: ``encoder/gru/kernel``."""
    paths: dict[str, list[str]] = collections.defaultdict(list)
    for path, layer in _layers(model, ""):
        paths[layer.name].append(path)
    held: dict[str, list[str]] = collections.defaultdict(list)
    for name in weights:
        parts = name.split("/")
        held[next((part for part in parts if len(paths.get(part, ())) == 1), "")].append(name)
    named = {name: name for name in held.pop("", [])}
    for leaf, names in held.items():
        for known, own in legacy_names(leaf, names).items():
            named[f"{paths[leaf][0]}{known.removeprefix(leaf)}"] = own
    return named


def _layers(model: Layer, prefix: str) -> Iterator[tuple[str, Layer]]:
    """Yield the layers of a model, with those of models in it, by path."""
    for layer in model.inner:
        path = f"{prefix}{layer.name}"
        if is_model(layer):
            yield from _layers(layer, f"{path}/")
        else:
            yield path, layer
