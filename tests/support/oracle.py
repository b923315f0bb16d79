"""The suite's independent oracle: a GRU in float64 NumPy, one sequence, step and gate at a time.

It is written from the equations alone and shares no line with jaxgru: no jax, no batching, no
fused product, no scan. ``weights`` is any object with the fields of ``jaxgru.GRUParams``.
"""

import math

import numpy as np


def gru(weights, xs, h0=None, *, reverse=False):
    """Return the states (T, H) and the last state (H,) for one sequence ``xs`` (T, I)."""
    xs = _float64(xs)
    units = _float64(weights.recurrent_kernel).shape[0]
    h = np.zeros(units) if h0 is None else _float64(h0)
    ys = np.zeros((len(xs), units))
    steps = range(len(xs))
    for t in reversed(steps) if reverse else steps:
        h = cell(weights, h, xs[t])["h"]
        ys[t] = h
    return ys, h


def gru_batch(weights, xs, h0=None, *, reverse=False):
    """Return the same for any batch axes: xs (..., T, I) and h0 (..., H) or None."""
    xs = _float64(xs)
    batch, units = xs.shape[:-2], _float64(weights.recurrent_kernel).shape[0]
    h0 = np.zeros((*batch, units)) if h0 is None else np.broadcast_to(_float64(h0), (*batch, units))
    ys, last = np.zeros((*xs.shape[:-1], units)), np.zeros((*batch, units))
    for index in np.ndindex(batch):
        ys[index], last[index] = gru(weights, xs[index], h0[index], reverse=reverse)
    return ys, last


def cell(weights, h, x):
    """Return the gates z, r, the candidate n and the new state h of one step, each (H,)."""
    h, x = _float64(h), _float64(x)
    W, U = _float64(weights.kernel), _float64(weights.recurrent_kernel)
    units = U.shape[0]
    b = np.zeros(3 * units) if weights.bias is None else _float64(weights.bias)
    c = np.zeros(3 * units) if weights.recurrent_bias is None else _float64(weights.recurrent_bias)
    Wz, Wr, Wh = W[:, :units], W[:, units : 2 * units], W[:, 2 * units :]
    Uz, Ur, Uh = U[:, :units], U[:, units : 2 * units], U[:, 2 * units :]
    bz, br, bh = b[:units], b[units : 2 * units], b[2 * units :]
    cz, cr, ch = c[:units], c[units : 2 * units], c[2 * units :]

    def sigma(a):
        return ACTIVATIONS[weights.recurrent_activation](_clip(a, weights.clip))

    def phi(a):
        return ACTIVATIONS[weights.activation](_clip(a, weights.clip))

    z = sigma(x @ Wz + bz + h @ Uz + cz)
    r = sigma(x @ Wr + br + h @ Ur + cr)
    if weights.reset_after:
        n = phi(x @ Wh + bh + r * (h @ Uh + ch))
    else:
        n = phi(x @ Wh + bh + (r * h) @ Uh + ch)
    return {"z": z, "r": r, "n": n, "h": z * h + (1.0 - z) * n}


def _float64(array):
    return np.asarray(array).astype(np.float64)


def _clip(a, limit):
    return a if limit is None else np.minimum(np.maximum(a, -limit), limit)


def _limit(x, low, high):
    return np.minimum(np.maximum(x, low), high)


def _elu(x):
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


_erf = np.vectorize(math.erf, otypes=[np.float64])

ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: _limit(x / 6 + 0.5, 0, 1),
    "hard_sigmoid_keras2": lambda x: _limit(0.2 * x + 0.5, 0, 1),
    "hard_tanh": lambda x: _limit(x, -1, 1),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: _limit(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": _elu,
    # The constants to as many digits as float64 holds; arXiv:1706.02515, equation 14.
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * _elu(x)),
    "softplus": lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "linear": lambda x: x,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
}
