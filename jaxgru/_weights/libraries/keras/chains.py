"""The GRUs of a Keras model and their inputs, according to its configuration."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from jaxgru._weights.defaults import Fields
from jaxgru._weights.errors import WeightsError, plain, result_or_error
from jaxgru._weights.libraries.keras.arrays import GRULayer, to_params
from jaxgru._weights.libraries.keras.config import Layer, function_name, gru_layer, has_gru
from jaxgru._weights.results import Inputs, LoadedGRU

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
_MODELS = (_SEQUENTIAL, "Functional", "Model")
_OUTSIDE, _SEVERAL = "those of the model", "those of the model, or of several layers"
_MOST_STEPS = 256  # from a layer to the GRU before it
_DEEPEST = 12  # of the lists that a call's arguments are in

_Tensor = tuple[str, int, int]  # the name of its layer, the call and the index of the output


class Configured(NamedTuple):
    """A GRU in the configuration of a model."""

    name: str  # in models and wrappers, "outer/inner"
    layer: Layer
    gru: GRULayer | WeightsError  # the error is the reason why no net represents it
    fields: Fields
    inputs: Inputs  # see Found

    def checked(self) -> GRULayer:
        """Return the layer; raise WeightsError if no net represents it."""
        if isinstance(self.gru, WeightsError):
            raise self.gru
        return self.gru

    def found(self, cells: Sequence[tuple[Sequence[NDArray[Any]], str]]) -> LoadedGRU:
        """Return the net, given the arrays and the name of each cell."""
        gru = self.checked()
        pairs = zip(cells, gru.cells, strict=True)
        net = gru.assemble([to_params(held, cell, where) for (held, where), cell in pairs])
        return LoadedGRU(net, (*gru.notes, *self.fields.notes()), self.inputs)


def grus(
    layers: Iterable[Layer],
    inputs: Mapping[str, Inputs],
    version: str | None,
    assume: Mapping[str, Any],
    prefix: str = "",
) -> Iterator[Configured]:
    """Yield the GRUs in layers, given the inputs of each by name, see ``inputs_of``.

    ``version`` is that of Keras, None if unknown; ``assume`` is that of the caller.
    """
    for layer in layers:
        name, fields = f"{prefix}{layer.name}", Fields(assume)
        gru = result_or_error(gru_layer, layer, version, fields)
        if gru is None:
            yield from grus(layer.inner, inputs, version, assume, f"{name}/")
        else:
            yield Configured(name, layer, gru, fields, inputs.get(name))


def inputs_of(model: Layer, prefix: str = "") -> dict[str, Inputs]:
    """Return the inputs of the GRUs of a model and of models in it by name in the file.

    The inputs of layers inside other layers and custom models are not known.
    """
    scope = Scope(model, prefix, None) if is_model(model) else None
    return dict(_inputs(model.inner, prefix, scope))


class Scope:
    """The connections of a model, and its outer model if it is nested."""

    def __init__(self, model: Layer, prefix: str, outer: "Scope | None") -> None:
        self.model, self.prefix, self.outer = model, prefix, outer
        self.layers = {layer.name: layer for layer in model.inner}
        self.is_sequential = model.class_name == _SEQUENTIAL
        self._before = dict(zip(self.layers, ("", *self.layers), strict=False))
        self._inner: dict[str, Scope] = {}

    def inner(self, model: Layer) -> "Scope":
        """Return the scope of a model in this one."""
        if model.name not in self._inner:
            self._inner[model.name] = Scope(model, f"{self.prefix}{model.name}/", self)
        return self._inner[model.name]

    def call_count(self, layer: Layer) -> int:
        """Return the number of calls of a layer."""
        return 1 if self.is_sequential or not isinstance(layer.calls, list) else len(layer.calls)

    def source(self, layer: Layer, call: int) -> _Tensor | str:
        """Return the tensor that is the input of a call, or a phrase."""
        if self.is_sequential:
            before = self._before[layer.name]
            return (before, 0, 0) if before else _OUTSIDE
        calls = layer.calls if isinstance(layer.calls, list) else []
        return _only(_histories(calls[call : call + 1], 0))

    def output(self, index: int) -> _Tensor | str:
        """Return the tensor that is an output of the model, or a phrase."""
        if self.is_sequential:
            return (next(reversed(self.layers)), 0, 0) if self.layers else _SEVERAL
        outputs = list(_histories(self.model.config.get("output_layers"), 0))
        return _only(outputs[index : index + 1])

    def has_one_input(self) -> bool:
        """Return whether the model has one input and is called once."""
        if self.outer is None or self.outer.call_count(self.model) != 1:
            return False
        inputs = _histories(self.model.config.get("input_layers"), 0)
        return self.is_sequential or len(list(inputs)) == 1


def _inputs(
    layers: Sequence[Layer], prefix: str, scope: Scope | None
) -> Iterator[tuple[str, Inputs]]:
    for layer in layers:
        name = f"{prefix}{layer.name}"
        if has_gru(layer):
            if scope is not None:
                calls = range(scope.call_count(layer))
                yield name, tuple(_trace(scope, scope.source(layer, call)) for call in calls)
        elif is_model(layer):
            inner = scope.inner(layer) if scope else Scope(layer, f"{name}/", None)
            yield from _inputs(layer.inner, f"{name}/", inner)
        else:
            yield from _inputs(layer.inner, f"{name}/", None)


def _trace(scope: Scope, tensor: _Tensor | str) -> tuple[str, int] | str:
    """Return the GRU and its call that compute a tensor of a model, or a phrase."""
    for _ in range(_MOST_STEPS):  # because there may be a cycle
        name, call, index = (tensor, 0, 0) if isinstance(tensor, str) else tensor
        layer = None if isinstance(tensor, str) else scope.layers.get(name)
        if tensor == _OUTSIDE or (layer and layer.class_name == "InputLayer"):
            if scope.outer is None:
                return _OUTSIDE
            outer, model = scope.outer, scope.model
            tensor = outer.source(model, 0) if scope.has_one_input() else _SEVERAL
            scope = outer
        elif layer is None:
            return _SEVERAL
        elif _is_transparent(layer):
            tensor = scope.source(layer, call)
        elif is_model(layer):
            scope = scope.inner(layer)
            tensor = scope.output(index)
        elif not has_gru(layer):
            return f"the outputs of {plain(layer.class_name)} {plain(layer.name)}"
        elif index or not _gives_sequence(layer):
            return f"no sequence of {plain(layer.name)} in the order of time"
        else:
            return f"{scope.prefix}{name}", call
    return "those of layers in a circle"


def is_model(layer: Layer) -> bool:
    """Return whether a layer is a Sequential or a functional model."""
    return layer.class_name in _MODELS and not layer.is_custom


def _is_transparent(layer: Layer) -> bool:
    if layer.class_name == "Activation" and "activation" in layer.config:
        return not layer.is_custom and function_name(layer.config["activation"]) == "linear"
    return not layer.is_custom and layer.class_name in _TRANSPARENT


def _gives_sequence(layer: Layer) -> bool:
    # The options are those of the layer, or of the layer inside a Bidirectional.
    config = layer.inner[0].config if layer.kind == "Bidirectional" else layer.config
    gives = config.get("return_sequences") is True and not config.get("go_backwards")
    return gives and layer.config.get("merge_mode", "concat") is not None


def _only(histories: Iterable[list[Any]]) -> _Tensor | str:
    """Return the only tensor of several, or a phrase."""
    match list(histories):
        case [[str(name), int(call), int(index)]] if call >= 0 and index >= 0:
            return name, call, index
    return _SEVERAL


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
