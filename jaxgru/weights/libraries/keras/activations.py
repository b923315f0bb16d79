"""The activations that a Keras configuration names, as ``jaxgru`` calls them."""

from collections.abc import Mapping
from typing import Any

from jaxgru.activations import ACTIVATIONS, get_activation
from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.unspecified import Fields

_KNOWN = {name: known for name in ACTIVATIONS if (known := get_activation(name).keras)}
_NAMES = sorted({name for known in _KNOWN.values() for name in known.names})
_VERSIONS = ("1", "2", "3")

# Layers that stand for a function, and the options with which they are it.
_LAYERS: dict[str, tuple[tuple[dict[str, Any], str], ...]] = {
    "ReLU": (
        ({"max_value": None, "negative_slope": 0, "threshold": 0}, "relu"),
        ({"max_value": 6, "negative_slope": 0, "threshold": 0}, "relu6"),
    ),
    "ELU": (({"alpha": 1}, "elu"),),
}
_KERAS_MODULES = ("keras", "tf_keras", "tensorflow", "builtins")


def keras_names(version: str) -> dict[str, str]:
    """Return how a version of Keras calls our activations that it has."""
    major = version.partition(".")[0]
    return {name: known.names[0] for name, known in _KNOWN.items() if major in known.versions}


def resolve_activation(
    config: Mapping[str, Any], key: str, field: str, version: str | None, fields: Fields
) -> str:
    """Return the activation in a layer's configuration, by our name.

    Args:
        config: the layer's.
        key: what Keras calls the field in it.
        field: ``"activation"`` or ``"recurrent_activation"``.
        version: the version of Keras that wrote it, None if unknown.
        fields: those of the GRU, with what the caller assumes.
    """
    if key not in config:
        return str(fields.resolve(field))
    name = _name_of(config[key])
    known = {ours: keras for ours, keras in _KNOWN.items() if name in keras.names}
    major = (version or "").partition(".")[0]
    if major in _VERSIONS:
        known = {ours: keras for ours, keras in known.items() if major in keras.versions}
    if not known:
        raise WeightsError(
            f"{field} is {_described(config[key])}: expected one of {', '.join(_NAMES)}, as no "
            "other function can be held"
        )
    ours, keras = next(iter(known.items()))
    if len(known) == 1 and (major in keras.versions or keras.versions == _VERSIONS):
        return str(fields.resolve(field, ours))
    assumed = str(fields.resolve(field))
    if assumed not in known:
        raise WeightsError(
            f"{field} is {name!r} of an unknown version of Keras, and they differ: expected assume "
            f"to have for {field} {' or '.join(map(repr, known))}"
        )
    return assumed


def _name_of(value: Any) -> str | None:
    """Return Keras' name of a function in a configuration, None if it is none of Keras' own."""
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
        # Of a layer within a layer within a layer there is no need.
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
