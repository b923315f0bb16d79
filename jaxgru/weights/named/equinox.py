"""Equinox's GRU cell among named arrays.

==============  ============  ===============================================================
name            shape         meaning
==============  ============  ===============================================================
``weight_ih``   ``(3H, I)``   kernel transposed, blocks r, z, n
``weight_hh``   ``(3H, H)``   recurrent kernel, likewise
``bias``        ``(3H,)``     input-side bias, likewise
``bias_n``      ``(H,)``      state-side bias of the candidate; z and r have none
==============  ============  ===============================================================

``eqx.nn.GRUCell`` applies the reset gate after the product; its activations are always tanh and
sigmoid. Without biases its names and equations are those of ``torch.nn.GRUCell``.

Source: ``equinox/nn/_rnn.py``.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgru.params import GRUParams
from jaxgru.weights.assume import Settling
from jaxgru.weights.floats import Arrays
from jaxgru.weights.found import Gathered
from jaxgru.weights.named.build import attempt, check_arrays, from_rzn
from jaxgru.weights.named.places import Module, called, holding

LOOKED_FOR = "weight_ih (3H, I), weight_hh (3H, H), bias and bias_n of Equinox"
KERNELS = ("weight_ih", "weight_hh")
BIASES = ("bias", "bias_n")
_SHAPES = {
    "weight_hh": ("3H", "H"),
    "weight_ih": ("3H", "I"),
    "bias": ("3H",),
    "bias_n": ("H",),
}


def find(arrays: Arrays, assume: Mapping[str, Any]) -> Gathered:
    """Return every GRU cell of Equinox with biases among the arrays, by its place in the model.

    One without biases cannot be told from PyTorch's by its names, and need not be.

    Raises:
        WeightsError: two names mean one array.
    """
    return {
        called(place): attempt(functools.partial(params_of, module, place), assume)
        for place, module in holding(arrays, (*KERNELS, *BIASES)).items()
    }


def params_of(module: Module, place: str, settling: Settling) -> GRUParams:
    """Return the weights of one cell, given its arrays by their names, with biases or without."""
    shapes = {name: _SHAPES[name] for name in _SHAPES if name in module}
    weights = check_arrays(module, place, shapes)
    bias: Any = None
    recurrent_bias: Any = None
    if BIASES[0] in weights:
        bias, candidate = from_rzn(weights["bias"]), weights["bias_n"]
        recurrent_bias = np.concatenate(
            [np.zeros_like(candidate, shape=2 * candidate.size), candidate]
        )
    settling.pick("reverse", False)  # a cell has no direction: whoever runs it backward says so
    return GRUParams(
        from_rzn(weights["weight_ih"], 0).T,
        from_rzn(weights["weight_hh"], 0).T,
        bias,
        recurrent_bias,
        reset_after=settling.pick("reset_after", True),
        activation=settling.pick("activation", "tanh"),
        recurrent_activation=settling.pick("recurrent_activation", "sigmoid"),
    )
