"""A net as the arrays of ``torch.nn.GRU``, or of ``torch.nn.GRUCell``, by PyTorch's names."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru.net import Bidirectional, Net, check_net
from jaxgru.params import GRUParams
from jaxgru.weights.biases import both_biases
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.floats import check_floats
from jaxgru.weights.named.build import from_rzn
from jaxgru.weights.named.torch import BIASES, WEIGHTS, own_name

# What PyTorch's layers always are.
_FIXED = {
    "reset_after": True,
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "clip": None,
}

# The place of a layer in its net, for messages, and its directions: one or two.
_Layer = tuple[str, tuple[GRUParams, ...]]


def state_of(net: Net, *, cell: bool = False) -> dict[str, NDArray[Any]]:
    """Return a net of NumPy arrays by PyTorch's names, in PyTorch's order.

    PyTorch has all biases or none, so zeros stand for one that is None beside one that is not.

    Args:
        net: the net.
        cell: whether the names are those of a cell.

    Raises:
        WeightsError: PyTorch cannot hold the net.
        ValueError: the layers of the net do not fit together.
    """
    check_net(net)
    layers = _layers(net, "net")
    _check_alike(layers)
    if cell and (len(layers) > 1 or len(layers[0][1]) > 1):
        raise WeightsError("net has several layers: expected one, as torch.nn.GRUCell holds one")
    has_biases = any(
        bias is not None
        for _, sides in layers
        for p in sides
        for bias in (p.bias, p.recurrent_bias)
    )
    state: dict[str, NDArray[Any]] = {}
    for i, (_, sides) in enumerate(layers):
        for params, reverse in zip(sides, (False, True), strict=False):
            arrays = [params.kernel.T, params.recurrent_kernel.T]
            arrays += both_biases(params) if has_biases else ()
            for kind, array in zip((*WEIGHTS, *BIASES), arrays, strict=False):
                name = own_name(kind, None if cell else i, reverse)
                # The order z, r, n becomes r, z, n by the same exchange as the other way.
                state[name] = np.ascontiguousarray(from_rzn(array, 0))
    check_floats(state)
    return state


def _layers(net: Any, where: str) -> list[_Layer]:
    if isinstance(net, tuple | list):
        stacked = [_layers(layer, f"{where}[{i}]") for i, layer in enumerate(net)]
        return [layer for layers in stacked for layer in layers]
    if isinstance(net, GRUParams):
        return [(where, (net,))]
    if not isinstance(net, Bidirectional):
        raise WeightsError(
            f"{where} is a {type(net).__name__}: expected none, as PyTorch has no layer that only "
            "goes backward"
        )
    if net.merge != "concat":
        raise WeightsError(
            f"{where}.merge is {net.merge!r}: expected 'concat', as PyTorch has no other"
        )
    for side in ("forward", "backward"):
        if not isinstance(getattr(net, side), GRUParams):
            raise WeightsError(
                f"{where}.{side} is a {type(getattr(net, side)).__name__}: expected a GRUParams, "
                "as PyTorch's directions meet after every layer"
            )
    return [(where, (net.forward, net.backward))]


def _check_alike(layers: list[_Layer]) -> None:
    """Raise WeightsError unless the layers are as PyTorch's, and so alike that one GRU has them."""
    first, sides = layers[0]
    for where, others in layers:
        if len(others) != len(sides):
            raise WeightsError(
                f"{where} has {len(others)} directions and {first} {len(sides)}: expected the same "
                "in all layers, as in torch.nn.GRU"
            )
        for params in others:
            if params.hidden_size != sides[0].hidden_size:
                raise WeightsError(
                    f"{where} has {params.hidden_size} units and {first} {sides[0].hidden_size}: "
                    "expected the same in all layers, as in torch.nn.GRU"
                )
            for field, value in _FIXED.items():
                if getattr(params, field) != value:
                    raise WeightsError(
                        f"{where} has {field}={getattr(params, field)!r}: expected {value!r}, as "
                        "PyTorch has no other"
                    )
