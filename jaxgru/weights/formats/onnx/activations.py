"""ONNX's activations and ours: those that are the same function, to the bit of their parameters."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxgru.activations import ACTIVATIONS
from jaxgru.weights.errors import WeightsError


class Applied(NamedTuple):
    """An activation as a GRU node has it: a function, with the parameters that it takes."""

    function: str
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()


def _float32(value: float) -> float:
    """Return what an attribute of a node, which is float32, makes of a number."""
    return float(np.float32(value))


# What each of our activations is to ONNX. The others have no equal there.
_APPLIED = {
    "tanh": Applied("Tanh"),
    "sigmoid": Applied("Sigmoid"),
    "hard_sigmoid": Applied("HardSigmoid", (_float32(1 / 6),), (0.5,)),
    "hard_sigmoid_keras2": Applied("HardSigmoid", (_float32(0.2),), (0.5,)),
    "relu": Applied("Relu"),
    "elu": Applied("Elu", (1.0,)),
    "softplus": Applied("Softplus"),
    "softsign": Applied("Softsign"),
    "linear": Applied("Affine", (1.0,), (0.0,)),
}
_OURS = {applied: name for name, applied in _APPLIED.items()} | {
    Applied("ScaledTanh", (1.0,), (1.0,)): "tanh"
}
# What each function of ONNX takes, with its default; None where the specification's own default
# and that of ONNX Runtime differ, so that nobody can say what a file without the value means.
_PARAMETERS: dict[str, tuple[tuple[float | None, ...], tuple[float | None, ...]]] = {
    "Relu": ((), ()),
    "Tanh": ((), ()),
    "Sigmoid": ((), ()),
    "Softsign": ((), ()),
    "Softplus": ((), ()),
    "Affine": ((None,), (None,)),
    "LeakyRelu": ((0.01,), ()),
    "ThresholdedRelu": ((None,), ()),
    "ScaledTanh": ((None,), (None,)),
    "HardSigmoid": ((_float32(0.2),), (0.5,)),
    "Elu": ((1.0,), ()),
}
_SPELLED = {function.lower(): function for function in _PARAMETERS}


def names_of(functions: Sequence[str], alpha: Sequence[float], beta: Sequence[float]) -> list[str]:
    """Return our names of a node's activations.

    Args:
        functions: their names in ``activations``, in upper or lower case.
        alpha: the numbers of ``activation_alpha``, which those functions that take one take in
            turn, as ONNX Runtime reads them.
        beta: likewise of ``activation_beta``.

    Raises:
        WeightsError: a function is unknown, or none of our activations is equal to it.
    """
    spelled = []
    for function in functions:
        if function.lower() not in _SPELLED:
            raise WeightsError(
                f"activations has {function[:40]!a}: expected {', '.join(_PARAMETERS)}"
            )
        spelled.append(_SPELLED[function.lower()])
    alphas = _dealt("activation_alpha", alpha, [_PARAMETERS[name][0] for name in spelled])
    betas = _dealt("activation_beta", beta, [_PARAMETERS[name][1] for name in spelled])
    return [_name_of(Applied(*parts)) for parts in zip(spelled, alphas, betas, strict=True)]


def applied(name: str) -> Applied:
    """Return what one of our activations is to ONNX.

    Raises:
        WeightsError: ONNX's GRU has no equal of it.
    """
    if name not in _APPLIED:
        raise WeightsError(f"activation is {name!r}: expected one that ONNX has: {_listed()}")
    return _APPLIED[name]


def _dealt(
    attribute: str, values: Sequence[float], takers: Sequence[tuple[float | None, ...]]
) -> list[tuple[float, ...]]:
    """Return the numbers that each function gets, which takes at most one."""
    dealt: list[tuple[float, ...]] = []
    rest = list(values)
    for default in takers:
        given = (rest.pop(0),) if default and rest else default
        if None in given:
            raise WeightsError(f"{attribute} has {len(values)} values: expected one more")
        dealt.append(tuple(value for value in given if value is not None))
    # Some writers give every function a number, the first one to the first, needed or not.
    by_position = [values[i : i + 1] if takers[i] else () for i in range(len(takers))]
    if rest and [tuple(value) for value in by_position] != dealt:
        raise WeightsError(
            f"{attribute} has {len(values)} values: expected {len(values) - len(rest)}, as many as "
            "its functions take"
        )
    return dealt


def _name_of(activation: Applied) -> str:
    if activation in _OURS:
        return _OURS[activation]
    parameters = [f"alpha {value!r}" for value in activation.alpha]
    parameters += [f"beta {value!r}" for value in activation.beta]
    having = f" with {' and '.join(parameters)}" if parameters else ""
    raise WeightsError(
        f"activations has {activation.function}{having}: expected one that is exactly {_listed()}"
    )


def _listed() -> str:
    return ", ".join(name for name in ACTIVATIONS if name in _APPLIED)
