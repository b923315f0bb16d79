"""The configuration of a Keras model: its layers, and the fields of its GRU layers.

It is JSON of any version from Keras 1 to 3. Options for training are ignored: dropout,
initializers, constraints, ``stateful``, ``unroll``. Activations are converted to the names of
``jaxgru``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeGuard

from jaxgru._activations import ACTIVATIONS, get_activation
from jaxgru._net import MERGES
from jaxgru._weights.defaults import Fields
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.libraries.keras.arrays import Cell, GRULayer

_DEEPEST = 32
_LONGEST_NAME = 512
# A layer has about 2 kB of JSON, and several times as much as Python objects.
LARGEST = 8 * 2**20

_GRUS = ("GRU", "CuDNNGRU")
CELLS = (*_GRUS, "GRUCell")  # the classes of a single cell
# The fields that identify the base class of a custom class; the first class that fits is used.
_FIELDS_OF = {
    "GRU": {"units", "reset_after", "return_sequences"},
    "GRUCell": {"units", "reset_after"},
    "Bidirectional": {"layer", "merge_mode"},
    "RNN": {"cell", "return_sequences"},
    "StackedRNNCells": {"cells"},
}
_KNOWN = {name: known for name in ACTIVATIONS if (known := get_activation(name).keras)}
_NAMES = sorted({name for known in _KNOWN.values() for name in known.names})
_VERSIONS = ("1", "2", "3")
# Layers that are an activation with these options.
_LAYERS: dict[str, tuple[tuple[dict[str, Any], str], ...]] = {
    "ReLU": (
        ({"max_value": None, "negative_slope": 0, "threshold": 0}, "relu"),
        ({"max_value": 6, "negative_slope": 0, "threshold": 0}, "relu6"),
    ),
    "ELU": (({"alpha": 1}, "elu"),),
}
_KERAS_MODULES = ("keras", "tf_keras", "tensorflow", "builtins")


class Layer(NamedTuple):
    """Any layer of a model."""

    class_name: str
    name: str
    config: Mapping[str, Any]
    # The layers of a model in order, the wrapped layer of a wrapper, or the cells of a stack.
    inner: tuple["Layer", ...]
    is_custom: bool  # a custom class, perhaps with a name of Keras
    calls: Any = None  # in a functional model: the arguments of each call of the layer

    @property
    def kind(self) -> str:
        """Its class; for a custom class, the Keras class whose fields it has, if any."""
        if not self.is_custom and self.class_name in (*_FIELDS_OF, *_GRUS):
            return self.class_name
        fits = (kind for kind, fields in _FIELDS_OF.items() if fields <= self.config.keys())
        return next(fits, "" if self.is_custom else self.class_name)

    @property
    def within(self) -> "Iterator[Layer]":
        """The layer and all layers in it."""
        yield self
        for layer in self.inner:
            yield from layer.within


def model_of(config: Any) -> Layer:
    """Return a model with its layers, given its configuration as parsed JSON."""
    return _layer(config, 0)


def gru_layer(layer: Layer, version: str | None, fields: Fields) -> GRULayer | None:
    """Return the fields of a layer of GRU cells, None for other layers."""
    if not has_gru(layer):
        return None
    for inner in layer.within:
        if inner.is_custom or inner.kind != inner.class_name:
            check_subclass(inner, fields)
    if layer.kind == "Bidirectional":
        return _both_directions(layer, version, fields)
    cells = _cells_of(layer, version, fields)
    is_backward = bool(fields.resolve("reverse", _flag(layer.config, "go_backwards", False)))
    notes = tuple(_notes(layer.config, is_backward))
    return GRULayer((cells,), is_backward, notes=notes)


def _layer(entry: Any, depth: int) -> Layer:
    if depth > _DEEPEST:
        raise WeightsError(f"the model has layers within layers more than {_DEEPEST} deep")
    if not _is_layer(entry):
        raise WeightsError(f"the model is {shown(entry)}: expected its class_name and config")
    class_name, config = entry["class_name"], entry.get("config")
    if isinstance(config, list):  # a Sequential until Keras 2.2.2
        config = {"layers": config}
    if not isinstance(config, dict):  # a custom layer may have any configuration
        config = {}
    name = config.get("name") or entry.get("name") or class_name
    if not isinstance(name, str) or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise WeightsError(
            f"a layer is called {shown(name)}: expected printable text of at most "
            f"{_LONGEST_NAME} characters"
        )
    inner = tuple(_layer(one, depth + 1) for one in _within(config) if _is_layer(one))
    registered, module = entry.get("registered_name"), entry.get("module")
    is_custom = ">" in class_name or (isinstance(registered, str) and ">" in registered)
    is_custom |= isinstance(module, str) and module.partition(".")[0] not in _KERAS_MODULES
    calls = entry.get("inbound_nodes")
    return Layer(class_name, name, config, inner, is_custom, calls)


def _is_layer(entry: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(entry, dict) and isinstance(entry.get("class_name"), str)


def _within(config: Mapping[str, Any]) -> Iterator[Any]:
    for key in ("layers", "layer", "backward_layer", "cell", "cells"):
        inner = config.get(key)
        # RNN([cell, cell]) has a list of cells in some versions.
        yield from inner if isinstance(inner, list) else [inner]


def has_gru(layer: Layer) -> bool:
    """Return whether a layer is a GRU, or a layer of cells or GRUs."""
    if layer.kind in _GRUS:
        return True
    if layer.kind == "RNN":
        return any(map(_has_gru_cell, layer.inner))
    return layer.kind == "Bidirectional" and any(map(has_gru, layer.inner))


def _has_gru_cell(layer: Layer) -> bool:
    return layer.kind == "GRUCell" or any(map(_has_gru_cell, layer.inner))


def check_subclass(layer: Layer, fields: Fields) -> None:
    """Raise WeightsError for a custom class, unless it is assumed to compute the same as GRU."""
    if fields.given("subclass") == "gru":
        return
    has = {
        field: function_name(layer.config[field]) or layer.config[field] for field in _shown(layer)
    }
    values = "".join(f", {field}={shown(value, 40)}" for field, value in has.items())
    raise WeightsError(
        f"its class is {shown(layer.class_name)}{values}, which may compute anything: expected a "
        "class of Keras, or assume={'subclass': 'gru'} if it computes what GRU does with that"
    )


def _shown(layer: Layer) -> list[str]:
    fields = ("units", "activation", "recurrent_activation", "reset_after", "go_backwards")
    return [field for field in fields if field in layer.config]


def _both_directions(layer: Layer, version: str | None, fields: Fields) -> GRULayer:
    if not all(map(has_gru, layer.inner)):
        classes = " and ".join(inner.class_name[:40] for inner in layer.inner)
        raise WeightsError(f"its directions are {shown(classes)}: expected GRUs in both")
    if len(layer.inner) > 2:
        raise WeightsError(f"it has {len(layer.inner)} directions: expected two")
    forward, *other = layer.inner
    if _flag(forward.config, "go_backwards", False):
        raise WeightsError("its forward layer has go_backwards=True: expected False")
    for backward in other:
        if not _flag(backward.config, "go_backwards", False):
            raise WeightsError("its backward layer has go_backwards=False: expected True")
    merge = layer.config.get("merge_mode", "concat")
    if merge not in MERGES:
        raise WeightsError(f"merge_mode is {shown(merge)}: expected one of {MERGES}")
    sides = [_cells_of(side, version, fields) for side in layer.inner]
    # Without a backward layer of its own, the backward one is configured like the forward one.
    sides = sides if len(sides) == 2 else sides * 2
    return GRULayer(tuple(sides), merge=fields.resolve("merge", merge))


def _cells_of(layer: Layer, version: str | None, fields: Fields) -> tuple[Cell, ...]:
    if layer.kind in _GRUS:
        return (_cell(layer, version, fields),)
    cells = layer.inner
    if len(cells) == 1 and cells[0].kind == "StackedRNNCells":
        cells = cells[0].inner
    for cell in cells:
        if cell.kind != "GRUCell":
            raise WeightsError(
                f"it has a cell of class {shown(cell.class_name)}: expected GRUCell alone"
            )
    return tuple(_cell(cell, version, fields) for cell in cells)


def _cell(layer: Layer, version: str | None, fields: Fields) -> Cell:
    config = layer.config
    is_cudnn = layer.class_name == "CuDNNGRU"
    if is_cudnn:
        # It has no such options, as cuDNN computes nothing else.
        config = {**config, "activation": "tanh", "recurrent_activation": "sigmoid"}
    old = "inner_activation" in config  # Keras 1
    units = config.get("output_dim" if old else "units")
    if units is not None and (type(units) is not int or units < 1):
        raise WeightsError(f"units is {shown(units)}: expected a number, at least 1")
    recurrent = "inner_activation" if old else "recurrent_activation"
    # If it is missing, the reset gate is applied before the product, as always until Keras 2.1.
    reset_after = is_cudnn or _flag(config, "reset_after", False)
    return Cell(
        units=units,
        activation=resolve_activation(config, "activation", "activation", version, fields),
        recurrent_activation=resolve_activation(
            config, recurrent, "recurrent_activation", version, fields
        ),
        use_bias=_flag(config, "use_bias", True),
        reset_after=bool(fields.resolve("reset_after", reset_after)),
        is_cudnn=is_cudnn,
    )


def _notes(config: Mapping[str, Any], is_backward: bool) -> Iterator[str]:
    if is_backward:
        yield (
            "Keras returns the outputs of go_backwards=True last step first: jaxgru returns them "
            "in the order of the input"
        )
    if _flag(config, "time_major", False):
        yield "Keras took time as the first axis: time_major=True does here"
    if _flag(config, "zero_output_for_mask", False):
        yield "Keras gave 0 at masked steps: zero_masked=True does here"


def _flag(config: Mapping[str, Any], key: str, default: bool) -> bool:
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise WeightsError(f"{key} is {shown(value)}: expected true or false")
    return value


def keras_names(version: str) -> dict[str, str]:
    """Return the activations of a version of Keras by name, with their names in jaxgru."""
    major = version.partition(".")[0]
    return {name: known.names[0] for name, known in _KNOWN.items() if major in known.versions}


def resolve_activation(
    config: Mapping[str, Any], key: str, field: str, version: str | None, fields: Fields
) -> Any:
    """Return the activation under a key of a configuration, by its name in jaxgru."""
    if key not in config:
        return fields.resolve(field)
    name = function_name(config[key])
    known = {ours: keras for ours, keras in _KNOWN.items() if name in keras.names}
    major = (version or "").partition(".")[0]
    if major in _VERSIONS:
        known = {ours: keras for ours, keras in known.items() if major in keras.versions}
    if not known:
        raise WeightsError(
            f"{field} is {_described(config[key])}: expected one of {', '.join(_NAMES)}"
        )
    ours, keras = next(iter(known.items()))
    if len(known) == 1 and (major in keras.versions or keras.versions == _VERSIONS):
        return fields.resolve(field, ours)
    assumed = fields.resolve(field)
    if assumed not in known:
        raise WeightsError(
            f"{field} is {name!r} of an unknown version of Keras, and versions differ: expected "
            f"assume with {field} {' or '.join(map(repr, known))}"
        )
    return assumed


def function_name(value: Any) -> str | None:
    """Return the name in Keras of a function in a configuration, None for other functions."""
    if value is None:
        return "linear"
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return None
    class_name, config = value.get("class_name"), value.get("config")
    module = value.get("module") or "keras"
    if not (isinstance(module, str) and module.partition(".")[0] in _KERAS_MODULES):
        return None
    if class_name == "function":
        return config if isinstance(config, str) else None
    if not isinstance(class_name, str) or not isinstance(config, dict):
        return None
    if class_name == "Activation":
        inner = config.get("activation")
        # Deeper nesting is never needed.
        return inner if isinstance(inner, str) else None
    for options, name in _LAYERS.get(class_name, ()):
        if all(config.get(option, value) == value for option, value in options.items()):
            return name
    return None


def _described(value: Any) -> str:
    if isinstance(value, dict):
        parts = [value.get("registered_name") or value.get("class_name"), value.get("config")]
        return shown(" ".join(str(part)[:60] for part in parts if part is not None))
    return shown(value)
