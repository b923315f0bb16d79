"""The GRUs of a Keras model and their inputs, according to its configuration."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from jaxgru._weights.errors import WeightsError, outcome, plain
from jaxgru._weights.libraries.keras.arrays import GRULayer, to_params
from jaxgru._weights.libraries.keras.config import Layer, gru_layer, has_gru
from jaxgru._weights.results import Found
from jaxgru._weights.unspecified import Fields

# Layers that change no value in inference. (Masking changes none at valid steps.)
_TRANSPARENT = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "Masking",
        "SpatialDropout1D",
    }
)
_SEQUENTIAL = "Sequential"
_FUNCTIONAL = ("Functional", "Model")
_DEEPEST = 12  # of the lists that a call's arguments are in


class Configured(NamedTuple):
    """A GRU in the configuration of a model."""

    name: str  # in models and wrappers, "outer/inner"
    layer: Layer
    gru: GRULayer | WeightsError  # the error is the reason why no net can hold it
    fields: Fields
    inputs: str | None  # see Found

    @property
    def cell_count(self) -> int:
        """The number of cells, 0 if no net can hold it."""
        return len(self.gru.cells) if isinstance(self.gru, GRULayer) else 0

    def checked(self) -> GRULayer:
        """Return the layer; raise WeightsError if no net can hold it."""
        if isinstance(self.gru, WeightsError):
            raise self.gru
        return self.gru

    def found(self, cells: Sequence[tuple[Sequence[NDArray[Any]], str]]) -> Found:
        """Return the net, given the arrays and the name of each cell."""
        gru = self.checked()
        pairs = zip(cells, gru.cells, strict=True)
        net = gru.assemble([to_params(held, cell, where) for (held, where), cell in pairs])
        return Found(net, (*gru.notes, *self.fields.notes()), self.inputs)


def grus(
    layers: Iterable[Layer],
    inputs: Mapping[str, str],
    version: str | None,
    assume: Mapping[str, Any],
    prefix: str = "",
) -> Iterator[Configured]:
    """Yield the GRUs in layers, given the inputs of those among them.

    ``version`` is that of Keras, None if unknown; ``assume`` is that of the caller.
    """
    for layer in layers:
        name, fields = f"{prefix}{layer.name}", Fields(assume)
        gru = outcome(gru_layer, layer, version, fields)
        if gru is None:
            yield from grus(layer.inner, inputs_of(layer), version, assume, f"{name}/")
        else:
            yield Configured(name, layer, gru, fields, in_model(inputs, layer.name, prefix))


def inputs_of(model: Layer) -> dict[str, str]:
    """Return the inputs of each GRU of a model by name: the name of another GRU, or a phrase.

    A custom model has no such information.
    """
    if model.is_custom or model.class_name not in (_SEQUENTIAL, *_FUNCTIONAL):
        return {}
    layers = {layer.name: layer for layer in model.inner}
    before: dict[str, str | None] = {}
    for i, layer in enumerate(model.inner):
        if model.class_name == _SEQUENTIAL:
            before[layer.name] = model.inner[i - 1].name if i else None
        else:
            before[layer.name] = _only_input(layer)
    return {
        layer.name: _source(layer.name, before, layers) for layer in model.inner if has_gru(layer)
    }


def in_model(inputs: Mapping[str, str], name: str, prefix: str) -> str | None:
    """Return the inputs of a GRU, with the name in the file of the GRU that computes them."""
    found = inputs.get(name)
    return f"{prefix}{found}" if found in inputs else found


def _source(name: str, before: Mapping[str, str | None], layers: Mapping[str, Layer]) -> str:
    for _ in layers:  # limits the steps, as there may be a cycle
        found = before.get(name)
        if found is None or found not in layers:
            return "those of the model, or of several layers"
        layer = layers[found]
        if layer.is_custom or layer.class_name not in _TRANSPARENT:
            return _outputs(layer)
        name = found
    return "those of layers in a circle"


def _outputs(layer: Layer) -> str:
    if layer.class_name == "InputLayer":
        return "those of the model"
    if not has_gru(layer):
        return f"the outputs of {plain(layer.class_name)} {plain(layer.name)}"
    # The options are those of the layer, or of the one that a Bidirectional is made of.
    config = layer.inner[0].config if layer.class_name == "Bidirectional" else layer.config
    gives_sequence = config.get("return_sequences") is True and not config.get("go_backwards")
    if not gives_sequence or layer.config.get("merge_mode", "concat") is None:
        return f"no sequence of {plain(layer.name)} in the order of time"
    return layer.name


def _only_input(layer: Layer) -> str | None:
    """Return the name of the layer whose first output is the input of a layer's only call."""
    if not isinstance(layer.calls, list) or len(layer.calls) != 1:
        return None
    sources = list(_histories(layer.calls[0], 0))
    if len(sources) != 1 or sources[0][1:] != [0, 0]:
        return None
    return str(sources[0][0])


def _histories(value: Any, depth: int) -> Iterator[list[Any]]:
    """Yield each tensor in the arguments of a call: its layer, the call and the output index."""
    if depth > _DEEPEST:
        yield ["", -1, -1]
    elif isinstance(value, dict):
        if isinstance(value.get("keras_history"), list):  # Keras 3
            yield value["keras_history"]
        else:
            for inner in value.values():
                yield from _histories(inner, depth + 1)
    elif isinstance(value, list):
        is_tensor = len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int
        if is_tensor:  # Keras 2, with the call's other arguments after it
            yield value[:3]
            yield from _histories(value[3:], depth + 1)
        else:
            for inner in value:
                yield from _histories(inner, depth + 1)
