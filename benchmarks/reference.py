"""The equations of the GRU as a loop in float64 NumPy, the reference of all programs here."""

import numpy as np

from benchmarks.problem import Array, Weights, blocks


def gru_states(
    weights: Weights,
    xs: Array,
    *,
    reset_after: bool = True,
    candidate_bias: bool = True,
) -> Array:
    """Return the states ``(batch, time, units)``, in float64, from a state of zeros.

    Args:
        weights: of the layer.
        xs: the inputs, ``(batch, time, inputs)``.
        reset_after: whether the reset gate is after the product with the state.
        candidate_bias: whether there is a bias of the candidate inside the reset gate.
    """
    kernel, recurrent_kernel, bias, recurrent_bias = (np.float64(weight) for weight in weights)
    (Wz, Wr, Wn), (Uz, Ur, Un) = blocks(kernel), blocks(recurrent_kernel)
    (bz, br, bn), (cz, cr, cn) = blocks(bias), blocks(recurrent_bias)
    if not candidate_bias:
        cn = np.zeros_like(cn)
    h = np.zeros((xs.shape[0], Uz.shape[0]))
    states = []
    for x in np.moveaxis(np.float64(xs), 1, 0):
        z = _sigmoid(x @ Wz + bz + h @ Uz + cz)
        r = _sigmoid(x @ Wr + br + h @ Ur + cr)
        inside = r * (h @ Un + cn) if reset_after else (r * h) @ Un + cn
        h = z * h + (1 - z) * np.tanh(x @ Wn + bn + inside)
        states.append(h)
    return np.stack(states, axis=1)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
