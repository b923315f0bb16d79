"""Whole Keras models whose layers form a chain, as a ``jaxgru.model.Model``."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from numpy.typing import NDArray

from jaxgru import model as chain
from jaxgru._net import Net
from jaxgru._weights.defaults import Fields
from jaxgru._weights.dtypes import Arrays, OnAccess, Unread, check_floats, read_now
from jaxgru._weights.errors import WeightsError, plain, prefix_errors, shown
from jaxgru._weights.libraries.keras.chains import Scope, is_model
from jaxgru._weights.libraries.keras.config import (
    Layer,
    function_name,
    has_gru,
    resolve_activation,
)
from jaxgru._weights.results import GRUsByName, LoadedGRU, get_or_raise

_WAY_OUT = "read its arrays with jaxgru.load_arrays, or its GRUs with jaxgru.load and layer="
# The layers that a TimeDistributed may wrap.
_FOR_EACH_STEP = (
    *("Activation", "AlphaDropout", "BatchNormalization", "Dense", "Dropout", "ELU"),
    *("GaussianDropout", "GaussianNoise", "LayerNormalization", "LeakyReLU", "ReLU", "Softmax"),
)


@dataclasses.dataclass(frozen=True)
class _Source:
    """A layer of the chain, with its arrays by the last part of their names."""

    layer: Layer
    arrays: Mapping[str, NDArray[Any] | Unread]
    version: str | None
    fields: Fields
    axes: int = 2  # of one example at its input

    def get(self, key: str, default: Any, kinds: tuple[type, ...] | type) -> Any:
        """Return an option; raise WeightsError unless it is of one of the kinds."""
        value = self.layer.config.get(key, default)
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if not (value is default or type(value) in kinds):
            raise WeightsError(f"{key} is {shown(value)}: expected {kinds[0].__name__}")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a finite number."""
        value = float(self.get(key, default, (float, int)))
        if not math.isfinite(value):
            raise WeightsError(f"{key} is {value}: expected a finite number")
        return value

    def size(self, key: str, default: int | None) -> int:
        """Return a positive integer, or the only element of a list."""
        value = self.layer.config.get(key, default)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if type(value) is not int or value < 1:
            raise WeightsError(f"{key} is {shown(value)}: expected a positive integer")
        return value

    def one_of(self, key: str, default: str, *allowed: str) -> str:
        """Return an option that is one of the allowed words."""
        value = self.layer.config.get(key, default)
        if value not in allowed:
            raise WeightsError(f"{key} is {shown(value)}: expected {' or '.join(allowed)}")
        return str(value)

    def activation(self, key: str = "activation") -> Any:
        """Return an activation by its name in jaxgru."""
        config = {key: self.layer.config.get(key)}
        name = function_name(config[key])
        if name in ("softmax", "log_softmax"):
            return name
        return resolve_activation(config, key, key, self.version, self.fields)

    def array(self, name: str, is_there: bool = True) -> Any:
        """Return an array, None if the configuration does not have it."""
        if not is_there:
            return None
        if name not in self.arrays:
            raise WeightsError(f"it has no array {name}: expected one, as in its configuration")
        check_floats({name: self.arrays[name]})
        return read_now(self.arrays[name])

    def last_axis(self, key: str) -> None:
        """Raise WeightsError unless an axis is the last one."""
        axis = self.layer.config.get(key, -1)
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        if axis not in (-1, self.axes):
            raise WeightsError(f"{key} is {shown(axis)}: expected -1, the last axis")

    def channels_last(self) -> None:
        """Raise WeightsError unless the last axis has the features."""
        self.one_of("data_format", "channels_last", "channels_last")


def whole_model(
    model: Layer,
    version: str | None,
    find: Callable[[Arrays, Mapping[str, Any]], GRUsByName],
    named: Mapping[str, str],
    arrays: Arrays,
    assume: Mapping[str, Any],
) -> LoadedGRU:
    """Return the whole model of a file, given how its GRUs are found and its arrays by name."""
    gathered = find(arrays, assume)
    fields = Fields(assume)
    values = OnAccess(named, lambda name: arrays[named[name]])
    built = build_model(
        model, lambda name: get_or_raise(gathered, name).net, values, version, fields
    )
    notes = [
        note
        for found in gathered.values()
        if isinstance(found, LoadedGRU)
        for note in found.notes
        # Notes about outputs do not apply, because the model returns them as Keras does.
        if not note.startswith("Keras ")
    ]
    return LoadedGRU(cast(Any, built), tuple(dict.fromkeys((*notes, *fields.notes()))))


def build_model(
    model: Layer,
    net_of: Callable[[str], Net],
    arrays: Arrays,
    version: str | None,
    fields: Fields,
) -> chain.Model:
    """Return a whole model, given its configuration.

    Args:
        model: the configuration.
        net_of: returns the GRUs by the names of their layers, ``outer/inner`` in sub-models.
        arrays: all arrays by name: that of the layer and that of the array, ``dense/kernel``.
        version: that of Keras, None if unknown.
        fields: fields that may be missing in the file.

    Raises:
        WeightsError: a layer is not supported, or the layers do not form a chain. The message names
            the layer.
    """
    layers: dict[str, Any] = {}
    entries = list(_chain(model, ""))
    axes = example_axes = _input_axes([layer for _, layer in entries])
    for name, layer in entries:
        with prefix_errors(f"layer {plain(name)}"):
            built: Any
            if has_gru(layer):
                built = _recurrent(layer, net_of(name))
            else:
                own = {
                    key.rpartition("/")[2]: arrays[key]
                    for key in arrays
                    if key.startswith(f"{name}/")
                }
                built = _build(_Source(layer, own, version, fields, axes))
            if built is not None:
                layers[name] = built
                axes = _axes_after(built, axes)
    if not layers:
        raise WeightsError("the model has no layer that computes: expected at least one")
    return chain.Model(layers, example_axes=example_axes)


def _input_axes(layers: Sequence[Layer]) -> int:
    """Return the number of axes of one example, from the shape that the first layers give."""
    for layer in layers[:2]:
        for key in ("batch_shape", "batch_input_shape"):
            if isinstance(shape := layer.config.get(key), list):
                return len(shape) - 1
    first = next((layer for layer in layers if layer.class_name != "InputLayer"), None)
    return 1 if first is not None and first.class_name == "Embedding" else 2


def _axes_after(layer: Any, axes: int) -> int:
    if isinstance(layer, chain.Embedding):
        return axes + 1
    if isinstance(layer, chain.Reshape):
        return len(layer.shape)
    if isinstance(layer, chain.RepeatVector):
        return 2
    is_one = isinstance(layer, chain.Recurrent) and not layer.return_sequences
    return (
        1 if is_one or (isinstance(layer, chain.GlobalPooling1D) and not layer.keepdims) else axes
    )


def _chain(model: Layer, prefix: str) -> Iterator[tuple[str, Layer]]:
    """Yield the layers of a model in the order of execution, those of sub-models among them."""
    for layer in _in_order(model):
        name = f"{prefix}{layer.name}"
        if is_model(layer):
            yield from _chain(layer, f"{name}/")
        elif layer.class_name == "PruneLowMagnitude" and len(layer.inner) == 1:
            yield f"{name}/{layer.inner[0].name}", layer.inner[0]
        else:
            yield name, layer


def _in_order(model: Layer) -> list[Layer]:
    if not is_model(model):
        raise WeightsError(
            f"the model is a {plain(model.class_name)}: expected a Sequential or a functional "
            f"model; {_WAY_OUT}"
        )
    scope = Scope(model, "", None)
    if scope.is_sequential:
        return list(model.inner)
    tensor, found = scope.output(0), dict[str, Layer]()
    while not isinstance(tensor, str) and (layer := scope.layers.get(tensor[0])) is not None:
        # The index of the only call may be above 0: building a sub-model counts as a call.
        if layer.name in found or tensor[2] or scope.call_count(layer) > 1:
            raise _no_chain(layer, "is called several times, or has several outputs")
        found[layer.name] = layer
        if layer.class_name == "InputLayer":
            break
        tensor = scope.source(layer, 0)
        if isinstance(tensor, str):
            raise _no_chain(layer, "has several inputs")
    for layer in model.inner:
        if layer.name not in found:
            raise _no_chain(layer, "is not between the only input and the first output")
    return list(found.values())[::-1]


def _no_chain(layer: Layer, what: str) -> WeightsError:
    return WeightsError(
        f"layer {plain(layer.name)} ({plain(layer.class_name)}) {what}: expected a chain of "
        f"layers; {_WAY_OUT}"
    )


def _recurrent(layer: Layer, net: Net) -> chain.Recurrent:
    both = layer.kind == "Bidirectional"
    source = _Source(layer.inner[0] if both else layer, {}, None, Fields({}))
    for option in ("return_state", "time_major"):
        if source.get(option, False, bool):
            raise WeightsError(f"{option} is True: expected False in a chain; {_WAY_OUT}")
    if both and layer.config.get("merge_mode", "concat") is None:
        raise WeightsError(f"merge_mode is None: expected one output; {_WAY_OUT}")
    # Of RNN(cell), the rates are those of the cell.
    cells = [inner for inner in source.layer.inner if inner.class_name == "GRUCell"]
    rates = dataclasses.replace(source, layer=cells[0]) if len(cells) == 1 else source
    return chain.Recurrent(
        net,
        return_sequences=source.get("return_sequences", False, bool),
        zero_masked=both or source.get("zero_output_for_mask", False, bool),
        reverse_outputs=not both and source.get("go_backwards", False, bool),
        dropout=rates.number("dropout", 0.0),
        recurrent_dropout=rates.number("recurrent_dropout", 0.0),
    )


def _build(source: _Source) -> chain.Layer | None:
    layer = source.layer
    if layer.class_name == "TimeDistributed" and not layer.is_custom and len(layer.inner) == 1:
        inner = layer.inner[0]
        if inner.is_custom or inner.class_name not in _FOR_EACH_STEP:
            raise WeightsError(
                f"it is a TimeDistributed of {plain(inner.class_name)}: expected one of "
                f"{', '.join(_FOR_EACH_STEP)}; {_WAY_OUT}"
            )
        return _build(dataclasses.replace(source, layer=inner))
    build = _BUILDERS.get(layer.class_name)
    if build is None or layer.is_custom:
        raise WeightsError(
            f"it is a {plain(layer.class_name)}: expected one of {', '.join(sorted(_BUILDERS))} or "
            f"a GRU; {_WAY_OUT}"
        )
    return build(source)


def _dense(s: _Source) -> chain.Layer:
    if s.layer.config.get("quantization_config"):
        raise WeightsError(f"it is quantized: expected floating-point weights; {_WAY_OUT}")
    bias = s.array("bias", s.get("use_bias", True, bool))
    return chain.Dense(s.array("kernel"), bias, s.activation())


def _embedding(s: _Source) -> chain.Layer:
    return chain.Embedding(s.array("embeddings"), s.get("mask_zero", False, bool))


def _conv(s: _Source) -> chain.Layer:
    s.channels_last()
    return chain.Conv1D(
        s.array("kernel"),
        s.array("bias", s.get("use_bias", True, bool)),
        s.activation(),
        stride=s.size("strides", 1),
        padding=s.one_of("padding", "valid", "valid", "same", "causal"),
        dilation=s.size("dilation_rate", 1),
        groups=s.size("groups", 1),
    )


def _layer_normalization(s: _Source) -> chain.Layer:
    s.last_axis("axis")
    if s.get("rms_scaling", False, bool):
        raise WeightsError("rms_scaling is True: expected False")
    gamma, beta = _affine(s)
    return chain.LayerNormalization(gamma, beta, s.number("epsilon", 1e-3))


def _batch_normalization(s: _Source) -> chain.Layer:
    s.last_axis("axis")
    gamma, beta = _affine(s)
    statistics = s.array("moving_mean"), s.array("moving_variance")
    return chain.BatchNormalization(*statistics, gamma, beta, s.number("epsilon", 1e-3))


def _affine(s: _Source) -> tuple[Any, Any]:
    gamma = s.array("gamma", s.get("scale", True, bool))
    return gamma, s.array("beta", s.get("center", True, bool))


def _noise(s: _Source) -> chain.Layer:
    shape = s.layer.config.get("noise_shape")
    drawn = None
    if shape is not None:
        if not isinstance(shape, list) or any(n not in (None, 1) for n in shape[1:]):
            raise WeightsError(f"noise_shape is {shown(shape)}: expected a list of None and 1")
        drawn = tuple(n is None for n in shape[1:])
    rate = s.number("stddev" if s.layer.class_name == "GaussianNoise" else "rate", 0.0)
    return chain.Noise(s.layer.class_name, rate, drawn)


def _softmax(s: _Source) -> chain.Layer:
    s.last_axis("axis")
    return chain.Elementwise("softmax")


def _relu(s: _Source) -> chain.Layer:
    largest = s.layer.config.get("max_value")
    slope, threshold = s.number("negative_slope", 0.0), s.number("threshold", 0.0)
    return chain.ReLU(None if largest is None else s.number("max_value", 0.0), slope, threshold)


def _elu(s: _Source) -> chain.Layer:
    alpha = s.number("alpha", 1.0)
    if alpha != 1:
        raise WeightsError(f"alpha is {alpha}: expected 1; {_WAY_OUT}")
    return chain.Elementwise("elu")


def _leaky_relu(s: _Source) -> chain.Layer:
    key = "negative_slope" if "negative_slope" in s.layer.config else "alpha"
    return chain.ReLU(None, s.number(key, 0.3))


def _max_pooling(s: _Source) -> chain.Layer:
    s.channels_last()
    size = s.size("pool_size", 2)
    stride = size if s.layer.config.get("strides") is None else s.size("strides", None)
    return chain.MaxPooling1D(size, stride, s.one_of("padding", "valid", "valid", "same"))


def _global_pooling(s: _Source) -> chain.Layer:
    s.channels_last()
    kind = "max" if "Max" in s.layer.class_name else "average"
    return chain.GlobalPooling1D(kind, s.get("keepdims", False, bool))


def _reshape(s: _Source) -> chain.Layer:
    shape = s.layer.config.get("target_shape")
    if not isinstance(shape, list) or any(type(n) is not int for n in shape):
        raise WeightsError(f"target_shape is {shown(shape)}: expected a list of integers")
    return chain.Reshape(tuple(shape))


def _flatten(s: _Source) -> chain.Layer:
    s.channels_last()
    return chain.Reshape((-1,))


_BUILDERS: dict[str, Callable[[_Source], chain.Layer | None]] = {
    "Activation": lambda s: chain.Elementwise(s.activation()),
    "ActivityRegularization": lambda s: None,
    "AlphaDropout": _noise,
    "BatchNormalization": _batch_normalization,
    "Conv1D": _conv,
    "Dense": _dense,
    "Dropout": _noise,
    "ELU": _elu,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GaussianDropout": _noise,
    "GaussianNoise": _noise,
    "GlobalAveragePooling1D": _global_pooling,
    "GlobalMaxPooling1D": _global_pooling,
    "Identity": lambda s: None,
    "InputLayer": lambda s: None,
    "LayerNormalization": _layer_normalization,
    "LeakyReLU": _leaky_relu,
    "Masking": lambda s: chain.Masking(s.number("mask_value", 0.0)),
    "MaxPooling1D": _max_pooling,
    "PReLU": lambda s: chain.Elementwise("linear", s.array("alpha")),
    "ReLU": _relu,
    "RepeatVector": lambda s: chain.RepeatVector(s.size("n", None)),
    "Reshape": _reshape,
    "Softmax": _softmax,
    "SpatialDropout1D": _noise,
    "ThresholdedReLU": lambda s: chain.ReLU(None, 0.0, s.number("theta", 1.0)),
}
