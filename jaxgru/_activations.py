"""Activations: by name, or with parameters."""

import dataclasses
import inspect
import math
import numbers
from collections.abc import Collection
from typing import Any, TypeAlias, cast

from jaxgru._functions import BY_ONNX, FAMILIES, FUNCTIONS, ActivationName, FamilyName, Function

ACTIVATIONS: tuple[ActivationName, ...] = tuple(FUNCTIONS)
_ONLY_FAMILIES = tuple(name for name in FAMILIES if name not in FUNCTIONS)


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation with parameters.

    ==================  ============================================  ==================
    name                function                                      by the name alone
    ==================  ============================================  ==================
    leaky_relu          x for x >= 0, else alpha x                    alpha 0.2
    elu                 x for x > 0, else alpha (exp(x) - 1)          alpha 1
    hard_sigmoid        alpha x + beta, limited to [0, 1]             alpha 1/6, beta 1/2
    thresholded_relu    x for x > alpha, else 0
    scaled_tanh         alpha tanh(beta x)
    affine              alpha x + beta
    ==================  ============================================  ==================

    It is accepted wherever the name of an activation is. A ``GRUParams`` replaces it by a name if
    that is the same function: ``Activation("leaky_relu", 0.2)`` becomes ``"leaky_relu"``. ONNX's
    GRU and jaxgru's own files support it. Other formats and libraries do not.

    Args:
        name: one of these, or one of ``jaxgru.ACTIVATIONS`` without parameters.
        alpha: the first parameter, a finite number; by default that of the name.
        beta: the second parameter, likewise.

    Raises:
        ValueError: the name is unknown, the activation does not have that parameter or requires it,
            or the parameter is not a finite number.

    >>> import jax, jaxgru
    >>> leaky = jaxgru.Activation("leaky_relu", alpha=0.5)
    >>> jaxgru.init(jax.random.key(0), 3, 5, activation=leaky).activation
    Activation('leaky_relu', alpha=0.5)

    Source: ``activation_alpha`` and ``activation_beta`` of ONNX's GRU.
    """

    name: ActivationName | FamilyName
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        name: Any = self.name
        function = None if name in _ONLY_FAMILIES else get_activation(name, "name")
        takes: Collection[str] = ()
        if self.name in FAMILIES:
            takes = inspect.signature(FAMILIES[self.name]).parameters
        for parameter in ("alpha", "beta"):
            value = getattr(self, parameter)
            if parameter not in takes:
                if value is not None:
                    raise ValueError(
                        f"{parameter} is {value!r}: expected None, as {self.name} has no "
                        f"{parameter}"
                    )
                continue
            if value is None and function is not None:
                value = getattr(function.onnx, parameter)
            is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value)):
                raise ValueError(
                    f"{parameter} of {self.name} is {value!r}: expected a finite number"
                )
            # The dtype of a NumPy scalar would take part in promotion.
            object.__setattr__(self, parameter, float(value))

    def __repr__(self) -> str:
        """Show the name and the parameters that are set."""
        parts = [f"{part}={value!r}" for part, value in self._parameters().items()]
        return f"Activation({', '.join([repr(self.name), *parts])})"

    def __str__(self) -> str:
        """Return the spelling of the command line, such as ``leaky_relu:alpha=0.5``."""
        parts = [f"{part}={value!r}" for part, value in self._parameters().items()]
        return ":".join([self.name, *parts])

    def _parameters(self) -> dict[str, float]:
        given = {"alpha": self.alpha, "beta": self.beta}
        return {name: value for name, value in given.items() if value is not None}


ActivationLike: TypeAlias = ActivationName | Activation


def get_activation(activation: ActivationLike, argument: str = "activation") -> Function:
    """Return the function of an activation.

    Raises ValueError, listing the names and naming the argument, if there is none.
    """
    name: Any = activation
    if isinstance(activation, Activation):
        name = activation.name
        if name in FAMILIES:
            return FAMILIES[name](**activation._parameters())
    try:
        return FUNCTIONS[name]
    except (KeyError, TypeError):
        raise ValueError(
            f"{argument} {name!r} is unknown: expected one of {', '.join(FUNCTIONS)}"
        ) from None


def canonical(activation: ActivationLike, argument: str = "activation") -> ActivationLike:
    """Return the name of a function if it has one, else the ``Activation``.

    Raises ValueError as ``get_activation``.
    """
    function = get_activation(activation, argument)
    if not isinstance(activation, Activation):
        return activation
    if activation.name not in FAMILIES:
        return cast("ActivationName", activation.name)
    return BY_ONNX.get(function.onnx, activation)


def parse_activation(text: str) -> ActivationLike:
    """Return the activation of a spelling such as ``leaky_relu:alpha=0.5``.

    A name without parameters is returned unchanged. Raises ValueError for anything else.

    >>> parse_activation("hard_sigmoid:alpha=0.25:beta=0.5")
    Activation('hard_sigmoid', alpha=0.25, beta=0.5)
    """
    if ":" not in text:
        return cast("ActivationName", text)
    name, *parts = text.split(":")
    given = dict(part.partition("=")[::2] for part in parts)
    try:
        values = {parameter: float(value) for parameter, value in given.items()}
        return Activation(cast("ActivationName", name), **values)
    except TypeError:
        raise ValueError(f"{text!r} has other parameters: expected alpha and beta") from None
