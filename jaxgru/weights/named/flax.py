"""Flax's GRU cells among named arrays, those of linen and those of nnx.

linen has one ``Dense`` a gate and side, each under its own name:

==========================  ============  ===================================================
name                        shape         meaning
==========================  ============  ===================================================
``ir``, ``iz``, ``in``      ``(I, H)``    ``/kernel`` of a gate, with ``/bias`` ``(H,)``
``hr``, ``hz``, ``hn``      ``(H, H)``    ``/kernel`` likewise; only ``hn`` has a ``/bias``
==========================  ============  ===================================================

nnx has them side by side, r, z, n, and no bias on the side of the state:

==========================  ============  ===================================================
``dense_i/kernel``          ``(I, 3H)``   kernel, with ``dense_i/bias`` ``(3H,)``
``dense_h/kernel``          ``(H, 3H)``   recurrent kernel
==========================  ============  ===================================================

Both compute ``n = activation_fn(in(x) + r * hn(h))``, that is the reset gate after the product.
``gate_fn`` and ``activation_fn`` belong to the cell and are not among its parameters. Two cells
under ``forward_rnn`` and ``backward_rnn`` are the directions of Flax's ``Bidirectional``.

Source: ``flax/linen/recurrent.py`` and ``flax/nnx/nn/recurrent.py``.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgru.net import Backward, Bidirectional, Net
from jaxgru.params import GRUParams
from jaxgru.weights.assume import Settling
from jaxgru.weights.floats import Arrays
from jaxgru.weights.found import Gathered
from jaxgru.weights.named.build import Build, attempt, check_arrays, from_rzn
from jaxgru.weights.named.places import Module, called, holding

LOOKED_FOR = "ir/kernel to hn/kernel, or dense_i/kernel and dense_h/kernel of Flax"
# The gates' letters in the order of our blocks.
GATES = "zrn"

_LINEN = {f"i{gate}/kernel": ("I", "H") for gate in GATES} | {
    f"h{gate}/kernel": ("H", "H") for gate in GATES
}
_LINEN_BIASES = {f"{side}{gate}/bias": ("H",) for side in "ih" for gate in GATES}
_NNX = {"dense_h/kernel": ("H", "3H"), "dense_i/kernel": ("I", "3H")}
_NNX_BIAS = {"dense_i/bias": ("3H",)}
_SIDE = re.compile(r"(?P<outer>.*?)[./]?(?P<side>forward|backward)_rnn[./]cell")


def find(arrays: Arrays, assume: Mapping[str, Any]) -> Gathered:
    """Return every GRU of Flax among the arrays by the place of its cell, or its two cells.

    Raises:
        WeightsError: two names mean one array.
    """
    cells: dict[str, Build] = {}
    for place, module in holding(arrays, _LINEN, _LINEN_BIASES, depth=2).items():
        cells[place] = functools.partial(_linen, module, place)
    for place, module in holding(arrays, _NNX, _NNX_BIAS, depth=2).items():
        # Its other recurrent cells go by the same names: a simple one has H columns, an LSTM 4H.
        shape = module["dense_h/kernel"].shape
        if len(shape) == 2 and shape[1] == 3 * shape[0]:
            cells[place] = functools.partial(_nnx, module, place)
    return {
        called(place): attempt(build, assume) for place, build in _with_directions(cells).items()
    }


def _with_directions(cells: dict[str, Build]) -> dict[str, Build]:
    """Put the two cells of each Bidirectional together, and let the others have a direction."""
    sides = {place: match for place in cells if (match := _SIDE.fullmatch(place))}
    pairs: dict[str, dict[str, Build]] = {}
    for place, match in sides.items():
        pairs.setdefault(match["outer"], {})[match["side"]] = cells[place]
    found: dict[str, Build] = {}
    for place, cell in cells.items():
        outer = sides[place]["outer"] if place in sides else ""
        pair = pairs[outer] if place in sides else {}
        if len(pair) == 2:
            found[outer] = functools.partial(_both, pair["forward"], pair["backward"])
        else:
            found[place] = functools.partial(_one, cell)
    return found


def _one(cell: Build, settling: Settling) -> Net:
    net = cell(settling)
    return Backward(net) if settling.pick("reverse") else net


def _both(forward: Build, backward: Build, settling: Settling) -> Net:
    return Bidirectional(forward(settling), backward(settling), settling.pick("merge"))


def _linen(module: Module, place: str, settling: Settling) -> Net:
    shapes = {own: shape for own, shape in (_LINEN | _LINEN_BIASES).items() if own in module}
    weights = check_arrays(module, place, shapes)
    kernel, recurrent_kernel = (
        np.concatenate([weights[f"{side}{gate}/kernel"] for gate in GATES], axis=1) for side in "ih"
    )
    bias, recurrent_bias = (_linen_bias(weights, side) for side in "ih")
    return _params(kernel, recurrent_kernel, bias, recurrent_bias, settling)


def _linen_bias(weights: dict[str, Any], side: str) -> Any:
    biases = [weights.get(f"{side}{gate}/bias") for gate in GATES]
    if all(bias is None for bias in biases):
        return None
    none = np.zeros_like(weights["hn/kernel"][0])
    return np.concatenate([none if bias is None else bias for bias in biases])


def _nnx(module: Module, place: str, settling: Settling) -> Net:
    shapes = {own: shape for own, shape in (_NNX | _NNX_BIAS).items() if own in module}
    weights = {own: from_rzn(array) for own, array in check_arrays(module, place, shapes).items()}
    kernels = weights["dense_i/kernel"], weights["dense_h/kernel"]
    return _params(*kernels, weights.get("dense_i/bias"), None, settling)


def _params(
    kernel: Any, recurrent_kernel: Any, bias: Any, recurrent_bias: Any, settling: Settling
) -> GRUParams:
    return GRUParams(
        kernel,
        recurrent_kernel,
        bias,
        recurrent_bias,
        reset_after=settling.pick("reset_after", True),
        activation=settling.pick("activation"),
        recurrent_activation=settling.pick("recurrent_activation"),
    )
