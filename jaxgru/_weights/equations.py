"""Weights for other equations than those of Keras, and the exact conversion between them.

``"keras"`` are the equations of ``GRUParams``. ``"notebook"`` are these, from a widely copied
notebook about a GRU layer in NumPy::

    z  = sigma(x Wz + bz + h Uz + cz)
    r  = sigma(x Wr + br + h Ur + cr)
    n  = tanh(x Wh + bh + ch + r * (h Uh))
    h' = z * n + (1 - z) * h

They differ in two ways. The update gate is the complement: as ``1 - sigma(a) = sigma(-a)``, the
conversion negates the z blocks of W, U and both biases. And ``ch`` is outside the product with the
reset gate, so it can be added to ``bh``.

These are the equations in the text of the notebook. Its code differs from them after the first
step: the loop that multiplies the recurrent kernel of the candidate by the reset gate keeps only
the last column, so that every unit gets ``r_H * (h Uh)_H``. At h = 0 this makes no difference.
"""

import dataclasses
from typing import Any, Literal, get_args

import jax
import numpy as np

from jaxgru._params import GRUParams
from jaxgru._weights.conventions import Capabilities, negate_update
from jaxgru._weights.errors import WeightsError

Equations = Literal["keras", "notebook"]
EQUATIONS: tuple[Equations, ...] = get_args(Equations)
_CAPABILITIES = Capabilities(
    "the notebook's GRU", {"reset_after": (True,), "recurrent_activation": ("sigmoid",)}
)


def check_equations(equations: str) -> None:
    """Raise ValueError with the known names unless there are such equations."""
    if equations not in EQUATIONS:
        raise ValueError(
            f"equations is {equations!r}: expected {' or '.join(map(repr, EQUATIONS))}"
        )


def from_notebook(params: GRUParams) -> GRUParams:
    """Convert weights for the notebook's equations to weights for Keras'.

    Exact except for the rounding of the sum ``bh + ch``. The arrays are NumPy arrays.
    """
    _CAPABILITIES.check(params)
    params = _negated(params)
    if params.recurrent_bias is None:
        return params
    candidate = slice(2 * params.hidden_size, None)
    recurrent_bias: Any = params.recurrent_bias.copy()
    bias: Any = np.zeros_like(recurrent_bias) if params.bias is None else params.bias.copy()
    bias[..., candidate] += recurrent_bias[..., candidate]
    recurrent_bias[..., candidate] = 0
    return dataclasses.replace(params, bias=bias, recurrent_bias=recurrent_bias)


def to_notebook(params: GRUParams) -> GRUParams:
    """Convert weights for Keras' equations to weights for the notebook's.

    Exact bit-for-bit; the inverse is ``from_notebook``. The arrays are NumPy arrays.
    """
    _CAPABILITIES.check(params)
    if params.recurrent_bias is not None:
        inside = np.count_nonzero(params.recurrent_bias[..., 2 * params.hidden_size :])
        if inside:
            raise WeightsError(
                f"the recurrent bias of the candidate is non-zero in {inside} of "
                f"{params.hidden_size} units: expected 0, because the notebook's equations add it "
                "outside the reset gate"
            )
    return _negated(params)


def _negated(params: GRUParams) -> GRUParams:
    negated: GRUParams = jax.tree.map(negate_update, params)
    return negated
