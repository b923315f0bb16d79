"""Haiku's GRU among named arrays.

============  ============  =================================================================
name          shape         meaning
============  ============  =================================================================
``w_i``       ``(I, 3H)``   kernel, blocks z, r, a
``w_h``       ``(H, 3H)``   recurrent kernel, likewise
``b``         ``(3H,)``     bias, likewise
============  ============  =================================================================

``hk.GRU`` computes ``h' = (1 - z) * h + z * a``: its update gate is the complement of ours, and as
``1 - sigmoid(x) = sigmoid(-x)``, negating the z blocks goes from one to the other, to the bit. The
reset gate is applied before the product, and the activations are always tanh and sigmoid.

Source: ``haiku/_src/recurrent.py``.
"""

import functools
from collections.abc import Mapping
from typing import Any

from jaxgru.params import GRUParams
from jaxgru.weights.assume import Settling
from jaxgru.weights.equations import negate_update
from jaxgru.weights.floats import Arrays
from jaxgru.weights.found import Gathered
from jaxgru.weights.named.build import attempt, check_arrays
from jaxgru.weights.named.places import Module, called, holding

LOOKED_FOR = "w_i (I, 3H), w_h (H, 3H) and b of Haiku"
NAMES = ("w_i", "w_h", "b")


def find(arrays: Arrays, assume: Mapping[str, Any]) -> Gathered:
    """Return every GRU of Haiku among the arrays by the name of its module.

    Raises:
        WeightsError: two names mean one array.
    """
    return {
        called(place): attempt(functools.partial(_params, module, place), assume)
        for place, module in holding(arrays, NAMES).items()
    }


def _params(module: Module, place: str, settling: Settling) -> GRUParams:
    shapes = {"w_h": ("H", "3H"), "w_i": ("I", "3H"), "b": ("3H",)}
    weights = check_arrays(module, place, shapes)
    kernel, recurrent_kernel, bias = (negate_update(weights[name]) for name in NAMES)
    settling.pick("reverse", False)  # a cell has no direction: whoever runs it backward says so
    return GRUParams(
        kernel,
        recurrent_kernel,
        bias,
        reset_after=settling.pick("reset_after", False),
        activation=settling.pick("activation", "tanh"),
        recurrent_activation=settling.pick("recurrent_activation", "sigmoid"),
    )
