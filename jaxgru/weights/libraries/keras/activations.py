"""The activations that a Keras configuration names, as ``jaxgru`` calls them."""

from collections.abc import Mapping
from typing import Any

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.unspecified import Settling

_NAMES = {
    "celu": "elu",  # with its alpha of 1 it is the same function
    "elu": "elu",
    "exponential": "exponential",
    "gelu": "gelu",
    "hard_sigmoid": "hard_sigmoid",
    "hard_tanh": "hard_tanh",
    "linear": "linear",
    "relu": "relu",
    "relu6": "relu6",
    "selu": "selu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "softplus": "softplus",
    "softsign": "softsign",
    "swish": "silu",
    "tanh": "tanh",
}
# Two functions go by the name of hard_sigmoid: by Keras' version, and to a caller who says which.
_HARD_SIGMOIDS = {"1": "hard_sigmoid_keras2", "2": "hard_sigmoid_keras2", "3": "hard_sigmoid"}

# Layers that stand for a function, and the options with which they are it.
_LAYERS: dict[str, tuple[tuple[dict[str, Any], str], ...]] = {
    "ReLU": (
        ({"max_value": None, "negative_slope": 0, "threshold": 0}, "relu"),
        ({"max_value": 6, "negative_slope": 0, "threshold": 0}, "relu6"),
    ),
    "ELU": (({"alpha": 1}, "elu"),),
}
_KERAS_MODULES = ("keras", "tf_keras", "tensorflow", "builtins")


def pick_activation(
    config: Mapping[str, Any], key: str, field: str, version: str | None, settling: Settling
) -> str:
    """Return the activation that a layer's configuration says, settled with the caller's.

    Args:
        config: the layer's.
        key: what Keras calls the field in it.
        field: ``"activation"`` or ``"recurrent_activation"``.
        version: the version of Keras that wrote it, None if unknown.
        settling: what the caller assumes.

    Raises:
        WeightsError: it is a function that no net can have, or the caller assumes another.
    """
    if key not in config:
        return str(settling.pick(field))
    name = _name_of(config[key], field)
    if name != "hard_sigmoid":
        return str(settling.pick(field, name))
    known = _HARD_SIGMOIDS.get((version or "").partition(".")[0])
    if known is not None:
        return str(settling.pick(field, known))
    assumed = str(settling.pick(field))
    if assumed not in _HARD_SIGMOIDS.values():
        raise WeightsError(
            f"{field} is 'hard_sigmoid' of an unknown version of Keras, and they differ: expected "
            f"assume to say {field}='hard_sigmoid_keras2' (Keras 1 and 2) or 'hard_sigmoid'"
        )
    return assumed


def _name_of(said: Any, field: str) -> str:
    if said is None:
        return "linear"
    if isinstance(said, str) and said in _NAMES:
        return _NAMES[said]
    if isinstance(said, dict):
        class_name, config = said.get("class_name"), said.get("config")
        module = said.get("module") or "keras"
        is_own = isinstance(module, str) and module.partition(".")[0] in _KERAS_MODULES
        if is_own and class_name == "function" and isinstance(config, str) and config in _NAMES:
            return _NAMES[config]
        if is_own and class_name == "Activation" and isinstance(config, dict):
            inner = config.get("activation")
            # Of a layer within a layer within a layer there is no need.
            return _name_of(inner if isinstance(inner, str) else "?", field)
        if is_own and isinstance(class_name, str) and isinstance(config, dict):
            for options, name in _LAYERS.get(class_name, ()):
                if all(config.get(option, value) == value for option, value in options.items()):
                    return name
    raise WeightsError(
        f"{field} is {_shown(said)}: expected one of {', '.join(sorted(_NAMES))}, as no other "
        "function can be held"
    )


def _shown(said: Any) -> str:
    if isinstance(said, dict):
        parts = [said.get("registered_name") or said.get("class_name"), said.get("config")]
        return ascii(" ".join(str(part)[:60] for part in parts if part is not None))
    return ascii(said)[:80]
