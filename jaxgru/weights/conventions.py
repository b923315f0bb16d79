"""How others differ from ``GRUParams``: order of gates, sign, biases, and what they can hold."""

from typing import Any

import numpy as np

from jaxgru.net import Net
from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError


def from_rzn(array: Any, axis: int = -1) -> Any:
    """Return an array with the blocks r, z, n along an axis in the order z, r, n."""
    reset, update, candidate = np.split(array, 3, axis)
    return np.concatenate([update, reset, candidate], axis)


def negate_update(array: Any) -> Any:
    """Return a copy of an array whose first third along the last axis, the z block, is negated."""
    array = array.copy()
    block = array[..., : array.shape[-1] // 3]
    # The sign's bit is turned over, as arithmetic warns of a signalling NaN, and changes it.
    bits = block.view(f"u{array.itemsize}")
    bits ^= bits.dtype.type(1 << (8 * array.itemsize - 1))
    return array


def one_bias(bias: Any, recurrent_bias: Any, holder: str) -> Any:
    """Return the sum of two biases, which must be exact: of each two numbers one must be zero.

    Args:
        bias: the input side's, or some blocks of it.
        recurrent_bias: the state side's, likewise; it must be one that the reset gate does not
            multiply.
        holder: what holds one bias alone, for the error, such as ``"npz"``.

    Raises:
        WeightsError: two numbers are both non-zero, so that their sum may be rounded.
    """
    both = np.count_nonzero((bias != 0) & (recurrent_bias != 0))
    if both:
        raise WeightsError(
            f"bias and recurrent_bias are both non-zero in {both} of {bias.size} places: expected "
            f"one of them to be 0, as {holder} holds one bias there; add them up first if rounding "
            "the sum is well"
        )
    return np.where(recurrent_bias != 0, recurrent_bias, bias)


def both_biases(params: GRUParams) -> tuple[Any, Any]:
    """Return the two biases of a layer of NumPy arrays, zeros in the place of None."""
    none = np.zeros(3 * params.hidden_size, params.dtype)
    bias = none if params.bias is None else params.bias
    recurrent_bias = none if params.recurrent_bias is None else params.recurrent_bias
    return bias, recurrent_bias


def one_gate_bias(params: GRUParams, holder: str) -> tuple[Any, Any]:
    """Return biases of a layer of NumPy arrays for what has one bias for each gate.

    Args:
        params: the layer, with ``reset_after=True``.
        holder: what has one alone, for the error, such as ``"Equinox's cell"``.

    Returns:
        The input side's bias ``(3H,)``, which has the state side's of z and r in it, and the
        candidate's on the state side ``(H,)``.

    Raises:
        WeightsError: to put the state side's into the input side's may round.
    """
    bias, recurrent_bias = both_biases(params)
    gates = 2 * params.hidden_size
    shared = one_bias(bias[:gates], recurrent_bias[:gates], holder)
    return np.concatenate([shared, bias[gates:]]), recurrent_bias[gates:]


def only_layer(net: Net, holder: str) -> GRUParams:
    """Return the one layer of a net.

    Args:
        net: the net.
        holder: what is to hold it, for the error, such as ``"npz"``.

    Raises:
        WeightsError: the net is more than a layer that goes from the first step to the last.
    """
    inner = net
    while isinstance(inner, tuple | list) and len(inner) == 1:
        inner = inner[0]
    if isinstance(inner, GRUParams):
        return inner
    kind = f"a {type(inner).__name__}"
    if isinstance(inner, tuple | list):
        kind += f" of {len(inner)}"
    raise WeightsError(f"net is {kind}: expected a single GRUParams, as {holder} holds one layer")


def check_variant(params: GRUParams, holder: str, *, reset_after: bool | None = None) -> None:
    """Raise WeightsError unless a layer has tanh, sigmoid and no clip.

    Args:
        params: the layer.
        holder: what is to hold it, for the error, such as ``"Haiku's GRU"``.
        reset_after: where that holds one of the two only: which.
    """
    fixed: dict[str, Any] = {"activation": "tanh", "recurrent_activation": "sigmoid", "clip": None}
    if reset_after is not None:
        fixed = {"reset_after": reset_after, **fixed}
    for field, value in fixed.items():
        if getattr(params, field) != value:
            raise WeightsError(
                f"{field} is {getattr(params, field)!r}: expected {value!r}, as {holder} holds no "
                "other"
            )
