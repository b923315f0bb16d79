"""The activations of ONNX's GRU, with their parameters."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgru._activations import ACTIVATIONS, Activation, ActivationLike, get_activation
from jaxgru._functions import BY_ONNX, FAMILIES, Onnx
from jaxgru._weights.errors import WeightsError, shown


def float32(value: Any) -> Any:
    """Round a number to float32, as an attribute of a node does; None for None."""
    with np.errstate(over="ignore"):
        return None if value is None else float(np.float32(value))


def rounded(activation: ActivationLike) -> Onnx | None:
    """Return an activation as it is stored in a node, or None if ONNX has no equal function."""
    known = get_activation(activation).onnx
    return known and Onnx(known.function, float32(known.alpha), float32(known.beta))


def stored(field: str, activation: ActivationLike, dtype: np.dtype[Any]) -> Onnx:
    """Return an activation of a layer of this dtype as it is stored in a node.

    Raises WeightsError, naming the field, if ONNX has no equal function or does not support a
    parameter.
    """
    function = rounded(activation)
    if function is None:
        options = " or ".join(repr(name) for name in ACTIVATIONS if get_activation(name).onnx)
        raise WeightsError(
            f"{field} is {activation!r}: ONNX's GRU supports only {options} or a jaxgru.Activation"
        )
    given = get_activation(activation).onnx
    is_finite = all(value is None or math.isfinite(value) for value in function[1:])
    # In a net of at most float32, jaxgru also computes with the parameters in float32. Those of a
    # name are what ONNX means by it.
    is_exact = isinstance(activation, str) or dtype.itemsize <= 4 or function == given
    if not (is_finite and is_exact):
        raise WeightsError(
            f"{field} is {activation!r}: expected parameters that float32 has, as ONNX's "
            "attributes are"
        )
    return function


_NAMES = {rounded(name): name for name in ACTIVATIONS} | BY_ONNX
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
_FAMILIES = {_SPELLED[name.replace("_", "")]: name for name in FAMILIES}


def activations_of(
    functions: Sequence[str], alpha: Sequence[float], beta: Sequence[float]
) -> list[ActivationLike]:
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
    return [_activation_of(Onnx(*parts)) for parts in zip(spelled, alphas, betas, strict=True)]


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


def _activation_of(function: Onnx) -> ActivationLike:
    """Return the activation of a function, by its name if it has one."""
    if function in _NAMES:
        return _NAMES[function]
    try:
        return Activation(_FAMILIES[function.function], function.alpha, function.beta)
    except ValueError as error:
        raise WeightsError(f"activations has {function.function}: {error}") from None
