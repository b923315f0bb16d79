"""The activations of ONNX that are the same functions as those of jaxgru, with parameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgru._activations import ACTIVATIONS, Onnx, get_activation
from jaxgru._weights.conventions import Holder
from jaxgru._weights.errors import WeightsError, shown


def float32(value: Any) -> Any:
    """Round a number to float32, as an attribute of a node does; None for None."""
    with np.errstate(over="ignore"):
        return None if value is None else float(np.float32(value))


# The activations of jaxgru as they are stored in a node.
STORED = {
    name: Onnx(known.function, float32(known.alpha), float32(known.beta))
    for name in ACTIVATIONS
    if (known := get_activation(name).onnx)
}
_NAMES = {activation: name for name, activation in STORED.items()} | {
    Onnx("ScaledTanh", 1.0, 1.0): "tanh"
}
HOLDER = Holder("ONNX's GRU", dict.fromkeys(("activation", "recurrent_activation"), tuple(STORED)))
# The default of alpha and beta for each function of ONNX; "none" if it does not have the parameter;
# "unsure" if the default of the specification differs from that of ONNX Runtime, so that a file
# without the value is ambiguous.
_PARAMETERS: dict[str, tuple[float | str, float | str]] = {
    **dict.fromkeys(("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus"), ("none", "none")),
    "Affine": ("unsure", "unsure"),
    "LeakyRelu": (0.01, "none"),
    "ThresholdedRelu": ("unsure", "none"),
    "ScaledTanh": ("unsure", "unsure"),
    "HardSigmoid": (0.2, 0.5),
    "Elu": (1.0, "none"),
}
_SPELLED = {function.lower(): function for function in _PARAMETERS}


def names_of(functions: Sequence[str], alpha: Sequence[float], beta: Sequence[float]) -> list[str]:
    """Return the activations of a node, given alpha and beta of the file.

    The functions with a parameter take one after the other, as in ONNX Runtime.
    """
    spelled = []
    for function in functions:
        if function.lower() not in _SPELLED:
            raise WeightsError(
                f"activations has {shown(function)}: expected {', '.join(_PARAMETERS)}"
            )
        spelled.append(_SPELLED[function.lower()])
    alphas = _dealt("activation_alpha", alpha, [_PARAMETERS[name][0] for name in spelled])
    betas = _dealt("activation_beta", beta, [_PARAMETERS[name][1] for name in spelled])
    return [_name_of(Onnx(*parts)) for parts in zip(spelled, alphas, betas, strict=True)]


def _dealt(
    attribute: str, values: Sequence[float], defaults: Sequence[float | str]
) -> list[float | None]:
    """Return the parameter of each function, None for a function without one."""
    dealt: list[float | None] = []
    rest = list(values)
    for default in defaults:
        if default == "none":
            dealt.append(None)
        elif rest:
            dealt.append(rest.pop(0))
        elif isinstance(default, str):
            raise WeightsError(f"{attribute} has {len(values)} values: expected one more")
        else:
            dealt.append(float32(default))
    # Some exporters write a number for every function, with or without a parameter.
    by_position = [
        None if default == "none" or i >= len(values) else values[i]
        for i, default in enumerate(defaults)
    ]
    if rest and by_position != dealt:
        raise WeightsError(
            f"{attribute} has {len(values)} values: expected {len(values) - len(rest)}, as many as "
            "its functions take"
        )
    return dealt


def _name_of(activation: Onnx) -> str:
    if activation in _NAMES:
        return _NAMES[activation]
    numbers = (("alpha", activation.alpha), ("beta", activation.beta))
    parameters = [f"{name} {value:.6g}" for name, value in numbers if value is not None]
    having = f" with {' and '.join(parameters)}" if parameters else ""
    raise WeightsError(
        f"activations has {activation.function}{having}: expected one that is exactly "
        f"{', '.join(STORED)}"
    )
