"""Two biases in one, for what holds one where ``GRUParams`` has two."""

from typing import Any

import numpy as np

from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError


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
