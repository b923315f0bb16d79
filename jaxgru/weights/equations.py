"""Weights meant for other equations than Keras', and the exact way from one to the other.

``"keras"`` are the equations of ``GRUParams``. ``"notebook"`` are these, found in a widely copied
walk through a GRU layer in NumPy::

    z  = sigma(x Wz + bz + h Uz + cz)
    r  = sigma(x Wr + br + h Ur + cr)
    n  = tanh(x Wh + bh + ch + r * (h Uh))
    h' = z * n + (1 - z) * h

They differ in two ways. The update gate is the complement, and as ``1 - sigma(a) = sigma(-a)``,
negating the z blocks of W, U and both biases goes from one to the other. And ``ch`` stands outside
the reset gate, where it is one constant with ``bh``.

These are the equations that the notebook states. Its code differs from them after the first step:
the loop that scales the candidate's recurrent kernel by the reset gate keeps only the last column,
so that every unit gets ``r_H * (h Uh)_H``. From h = 0, where it starts, this makes no difference.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import numpy as np

from jaxgru.net import Net
from jaxgru.params import GRUParams
from jaxgru.weights.conventions import Holder, negate_update
from jaxgru.weights.errors import WeightsError

Equations = Literal["keras", "notebook"]
EQUATIONS: tuple[Equations, ...] = get_args(Equations)
_HOLDER = Holder(
    "the notebook's GRU", {"reset_after": (True,), "recurrent_activation": ("sigmoid",)}
)


def check_equations(equations: str) -> None:
    """Raise ValueError, naming those that exist, unless there are such equations."""
    if equations not in EQUATIONS:
        raise ValueError(
            f"equations is {equations!r}: expected {' or '.join(map(repr, EQUATIONS))}"
        )


def from_notebook(params: GRUParams) -> GRUParams:
    """Return weights that give by Keras' equations what the given ones give by the notebook's.

    Exact, but for the one rounding of the sum ``bh + ch``. The arrays are NumPy's.
    """
    _HOLDER.check(params)
    params = _negated(params)
    if params.recurrent_bias is None:
        return params
    candidate = slice(2 * params.hidden_size, None)
    recurrent_bias: Any = params.recurrent_bias.copy()
    bias: Any = np.zeros_like(recurrent_bias) if params.bias is None else params.bias.copy()
    bias[candidate] += recurrent_bias[candidate]
    recurrent_bias[candidate] = 0
    return dataclasses.replace(params, bias=bias, recurrent_bias=recurrent_bias)


def to_notebook(params: GRUParams) -> GRUParams:
    """Return weights that give by the notebook's equations what the given ones give by Keras'.

    Exact to the bit, and undone by ``from_notebook``. The arrays are NumPy's.
    """
    _HOLDER.check(params)
    if params.recurrent_bias is not None:
        inside = np.count_nonzero(params.recurrent_bias[2 * params.hidden_size :])
        if inside:
            raise WeightsError(
                f"the recurrent bias of the candidate is non-zero in {inside} of "
                f"{params.hidden_size} units: expected 0, as the notebook's equations add it "
                "outside the reset gate and Keras' multiply it by that gate"
            )
    return _negated(params)


def map_layers(function: Callable[[GRUParams], GRUParams], net: Net) -> Any:
    """Return a net with the function applied to each of its layers."""
    return jax.tree.map(function, net, is_leaf=lambda node: isinstance(node, GRUParams))


def _negated(params: GRUParams) -> GRUParams:
    negated: GRUParams = jax.tree.map(negate_update, params)
    return negated
