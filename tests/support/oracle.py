"""The suite's independent oracle: a GRU in float64 NumPy, one sequence, step and gate at a time.

It is written from the equations alone and shares no line with jaxgru: no batching, no fused
product, no scan. ``weights`` is any object with the fields of ``jaxgru.GRUParams``. The equations
of one step may be evaluated in ``jax.numpy`` too, for JAX to differentiate them.
"""

import math

import numpy as np


def gru(weights, xs, h0=None, *, reverse=False, factor=1.0):
    """Return the states (T, H) and the last state (H,) for one sequence ``xs`` (T, I).

    ``factor`` (H,) is that of recurrent dropout.
    """
    xs = _float64(xs)
    units = _float64(weights.recurrent_kernel).shape[0]
    h = np.zeros(units) if h0 is None else _float64(h0)
    ys = np.zeros((len(xs), units))
    steps = range(len(xs))
    for t in reversed(steps) if reverse else steps:
        h = cell(weights, h, xs[t], factor)["h"]
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


def cell(weights, h, x, factor=1.0, xp=np):
    """Return the gates z, r, the candidate n and the new state h of one step, each (H,)."""
    arrays = (weights.kernel, weights.recurrent_kernel, weights.bias, weights.recurrent_bias, h, x)
    if xp is np:
        arrays = (array if array is None else _float64(array) for array in arrays)
    W, U, b, c, h, x = arrays
    units = U.shape[0]
    b = xp.zeros_like(U[0]) if b is None else b
    c = xp.zeros_like(U[0]) if c is None else c
    Wz, Wr, Wh = W[:, :units], W[:, units : 2 * units], W[:, 2 * units :]
    Uz, Ur, Uh = U[:, :units], U[:, units : 2 * units], U[:, 2 * units :]
    bz, br, bh = b[:units], b[units : 2 * units], b[2 * units :]
    cz, cr, ch = c[:units], c[units : 2 * units], c[2 * units :]

    def sigma(a):
        return activation(weights.recurrent_activation)(_clip(a, weights.clip, xp), xp)

    def phi(a):
        return activation(weights.activation)(_clip(a, weights.clip, xp), xp)

    d = h * factor  # dropout acts on the state in the products, and on no more of it
    z = sigma(x @ Wz + bz + d @ Uz + cz)
    r = sigma(x @ Wr + br + d @ Ur + cr)
    if weights.reset_after:
        n = phi(x @ Wh + bh + r * (d @ Uh + ch))
    else:
        n = phi(x @ Wh + bh + (r * d) @ Uh + ch)
    return {"z": z, "r": r, "n": n, "h": z * h + (1.0 - z) * n}


def _float64(array):
    return np.asarray(array).astype(np.float64)


def _clip(a, limit, xp):
    return a if limit is None else _limit(a, -limit, limit, xp)


def _limit(x, low, high, xp):
    return xp.minimum(xp.maximum(x, low), high)


def _elu(x, xp):
    return xp.where(x > 0, x, xp.exp(xp.minimum(x, 0.0)) - 1)


def _erf(x, xp):
    if xp is np:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    from autograd.scipy.special import erf

    return erf(x)


def activation(value):
    """Return the function of a name, or of a ``jaxgru.Activation``."""
    if isinstance(value, str):
        return ACTIVATIONS[value]
    return lambda x, xp=np: _PARAMETRIZED[value.name](x, value.alpha, value.beta, xp)


# Each of x, alpha and beta as in the documentation of ONNX's GRU.
_PARAMETRIZED = {
    "leaky_relu": lambda x, alpha, _, xp: xp.where(x >= 0, x, alpha * x),
    "elu": lambda x, alpha, _, xp: xp.where(x > 0, x, alpha * _elu(x, xp)),
    "hard_sigmoid": lambda x, alpha, beta, xp: _limit(alpha * x + beta, 0.0, 1.0, xp),
    "thresholded_relu": lambda x, alpha, _, xp: xp.where(x <= alpha, xp.zeros_like(x), x),
    "scaled_tanh": lambda x, alpha, beta, xp: alpha * xp.tanh(beta * x),
    "affine": lambda x, alpha, beta, xp: alpha * x + beta,
}


# Each of x and the library to compute it with.
ACTIVATIONS = {
    "tanh": lambda x, xp=np: xp.tanh(x),
    "sigmoid": lambda x, xp=np: 1 / (1 + xp.exp(-x)),
    "hard_sigmoid": lambda x, xp=np: _limit(x / 6 + 0.5, 0.0, 1.0, xp),
    "hard_sigmoid_keras2": lambda x, xp=np: _limit(0.2 * x + 0.5, 0.0, 1.0, xp),
    "hard_tanh": lambda x, xp=np: _limit(x, -1.0, 1.0, xp),
    "relu": lambda x, xp=np: xp.maximum(x, 0.0),
    "relu6": lambda x, xp=np: _limit(x, 0.0, 6.0, xp),
    "leaky_relu": lambda x, xp=np: xp.where(x > 0, x, 0.2 * x),
    "elu": lambda x, xp=np: _elu(x, xp),
    # The constants to as many digits as float64 holds; arXiv:1706.02515, equation 14.
    "selu": lambda x, xp=np: (
        1.0507009873554805 * xp.where(x > 0, x, 1.6732632423543772 * _elu(x, xp))
    ),
    "softplus": lambda x, xp=np: xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0.0),
    "softsign": lambda x, xp=np: x / (1 + xp.abs(x)),
    "exponential": lambda x, xp=np: xp.exp(x),
    "linear": lambda x, xp=np: x,
    "silu": lambda x, xp=np: x / (1 + xp.exp(-x)),
    "gelu": lambda x, xp=np: x * (1 + _erf(x / math.sqrt(2), xp)) / 2,
}
