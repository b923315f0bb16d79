"""The configurations of Keras 2's layers in a SavedModel, by the objects that they belong to.

Each layer has one as JSON: in ``keras_metadata.pb`` by the number of its object, until Keras 2.4 in
the object itself. That of the whole model has all layers, unless its class is a custom one.

Source: ``tensorflow/core/protobuf/saved_object_graph.proto`` and
``tf_keras/protobuf/saved_metadata.proto``.
"""

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxgru._weights.beside import read_beside
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.protobuf import Message
from jaxgru._weights.formats.tensorflow.files import GRAPH
from jaxgru._weights.formats.tensorflow.object_graph import Kind, Node, children_of
from jaxgru._weights.formats.tensorflow.table import MOST_ENTRIES
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.libraries.keras.config import LARGEST, Layer, has_gru, model_of

_METADATA = "keras_metadata.pb"
_LARGEST = 512 * 2**20  # of a graph, which has the traced functions too
_DEEPEST = 32
_MODELS = ("_tf_keras_model", "_tf_keras_sequential", "_tf_keras_network")


class Configuration(NamedTuple):
    """The Keras layers of a SavedModel."""

    entries: Mapping[int, Any]  # JSON, by the number of the object
    kinds: Mapping[int, Kind]
    version: str | None  # of Keras

    def model(self, children: Mapping[int, list[int]]) -> Layer:
        """Return the model, given the layers in each layer, from outside to inside.

        How a custom class uses its layers is in no configuration.
        """
        return self._layer(0, children, 0)

    def _layer(self, number: int, children: Mapping[int, list[int]], depth: int) -> Layer:
        if depth > _DEEPEST:
            raise WeightsError(f"its layers are more than {_DEEPEST} deep: expected fewer")
        entry = self.entries.get(number, {"class_name": "Model>", "config": {}})
        layer = model_of(entry)
        if layer.inner or has_gru(layer):
            return layer
        inner = tuple(self._layer(child, children, depth + 1) for child in children[number])
        return layer._replace(inner=inner)


def read_configuration(folder: Path, nodes: list[Node]) -> Configuration | None:
    """Return the configuration of a model in a folder by the objects of its checkpoint, if any."""
    content = read_beside(folder / GRAPH, _LARGEST)
    graph = Message(content, GRAPH)
    first = next(graph.messages(2), Message(b"", GRAPH))
    objects = [held for _, held in first.message(7).values(1)]
    if len(objects) > MOST_ENTRIES:
        raise WeightsError(f"{GRAPH} has more than {MOST_ENTRIES} objects: expected no more")
    texts: dict[int, tuple[str, str]] = {}
    if (folder / _METADATA).exists():
        for held in Message(read_beside(folder / _METADATA, _LARGEST), _METADATA).messages(1):
            texts[held.number(2)] = held.text(4), held.text(5)
    else:
        for number, one in enumerate(objects):
            own = Message(one, GRAPH).message(4)
            texts[number] = own.text(1), own.text(3)
    entries, kinds, version = {}, {}, None
    for number, matched in _matched(objects, nodes).items():
        identifier, text = texts.get(matched, ("", ""))
        if not identifier.startswith("_tf_keras_") or not text:
            continue
        entry = parse_json(text, "the configuration of a layer", LARGEST)
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
            continue  # of a metric, or a custom model
        config = entry.get("config")
        name = config.get("name") if isinstance(config, dict) else None
        name = name if isinstance(name, str) else entry.get("name")
        if isinstance(name, str) and name.isprintable():
            entries[number] = entry
            kinds[number] = Kind(name, entry["class_name"], identifier in _MODELS)
            known = entry.get("keras_version")
            version = known if version is None and isinstance(known, str) else version
    return Configuration(entries, kinds, version) if entries else None


def _matched(objects: list[memoryview], nodes: list[Node]) -> dict[int, int]:
    """Return the numbers in the graph of a SavedModel by those in the checkpoint.

    The two may differ, so both graphs are walked by the names of attributes.
    """
    found = {0: 0} if nodes and objects else {}
    waiting, seen = collections.deque(found), set(found)
    while waiting:
        number = waiting.popleft()
        children = children_of(Message(objects[found[number]], GRAPH))
        for name, child in nodes[number].children.items():
            other = children.get(name, -1)
            is_new = child not in found and other not in seen
            if is_new and 0 <= child < len(nodes) and 0 <= other < len(objects):
                found[child] = other
                seen.add(other)
                waiting.append(child)
    return found
