"""A GRU over whole sequences: batch axes, layout, direction and initial state."""

import functools
import math

import jax
import jax.numpy as jnp

from jaxgru.arguments import check_last_axis, to_state_dtype
from jaxgru.cell import Controls, Precision, fold, variant_of
from jaxgru.params import GRUParams, check_params
from jaxgru.recurrence import states

Array = jax.Array


def gru(
    params: GRUParams,
    xs: Array,
    h0: Array | None = None,
    *,
    reverse: bool = False,
    time_major: bool = False,
    precision: Precision = None,
) -> tuple[Array, Array]:
    """Return the states of a GRU at every step of its input, and the last state.

    With ``cell`` the step of ``GRUParams``: ``h_t = cell(h_{t-1}, x_t)`` for t = 1 ... T.
    Passing the last state of one chunk as ``h0`` of the next gives what the whole gives.

    Args:
        params: the weights, I inputs and H units.
        xs: the input, ``(..., T, I)``, or ``(T, ..., I)`` with ``time_major``; any batch axes.
        h0: the state before the first step, ``(..., H)`` or anything that broadcasts to it; zeros
            if None.
        reverse: go from the last step to the first. The state at index t is then the one after
            steps T ... t, and the last state is that of index 0.
        time_major: time is the first axis of xs and ys.
        precision: of the matrix products, as in ``jax.lax.dot_general``. JAX's default multiplies
            in TF32 on recent NVIDIA GPUs and in bfloat16 on TPUs: ask for ``"highest"`` to have
            the exact numbers of a CPU there.

    Returns:
        The states ``ys``, ``(..., T, H)`` (or ``(T, ..., H)``), and the last state, ``(..., H)``.
        Their type is that of the arguments promoted, and at least float32.

    Raises:
        ValueError: a shape or dtype does not fit the weights.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> ys, h = jaxgru.gru(params, jnp.ones((2, 7, 3)))
    >>> ys.shape, h.shape
    ((2, 7, 5), (2, 5))
    >>> bool(jnp.all(ys[:, -1] == h))
    True

    Source: Cho et al. 2014 (arXiv:1406.1078), in the convention of Keras.
    """
    check_params(params)
    check_last_axis("xs", xs, params.input_size, "inputs")
    if jnp.ndim(xs) < 2:
        layout = "(T, ..., I)" if time_major else "(..., T, I)"
        raise ValueError(f"xs has shape {jnp.shape(xs)}: expected {layout}, a sequence of inputs")
    if h0 is None:
        params, xs = to_state_dtype(params, xs=xs)
        h0 = jnp.zeros(params.hidden_size, xs.dtype)
    else:
        check_last_axis("h0", h0, params.hidden_size, "units")
        params, xs, h0 = to_state_dtype(params, xs=xs, h0=h0)

    if not time_major:
        xs = jnp.moveaxis(xs, -2, 0)
    h0 = _broadcast_state(h0, (*xs.shape[1:-1], params.hidden_size))
    ys = _states(params, xs, h0, reverse=reverse, precision=precision)
    h = h0 if len(ys) == 0 else ys[0 if reverse else -1]
    return (ys if time_major else jnp.moveaxis(ys, 0, -2)), h


# Compiled as a whole, so that a call outside jit compiles once for its shapes, not every time.
@functools.partial(jax.jit, static_argnames=("reverse", "precision"))
def _states(
    params: GRUParams, xs: Array, h0: Array, *, reverse: bool, precision: Precision
) -> Array:
    time, *batch, inputs = xs.shape
    units = params.hidden_size
    if time == 0:
        return jnp.zeros((time, *batch, units), xs.dtype)
    rows = math.prod(batch)
    variant, weights = variant_of(params, precision), fold(params)
    ys = states(
        variant,
        reverse,
        None,
        weights,
        Controls(),
        xs.reshape(time, rows, inputs),
        h0.reshape(rows, units),
    )
    return ys.reshape(time, *batch, units)


def _broadcast_state(h0: Array, shape: tuple[int, ...]) -> Array:
    try:
        return jnp.broadcast_to(h0, shape)
    except ValueError:
        raise ValueError(f"h0 has shape {h0.shape}: expected {shape}, as xs has it") from None
