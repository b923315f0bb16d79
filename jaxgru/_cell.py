"""One step of a GRU, and one step with its gates."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxgru._checks import (
    as_reset_state,
    check_broadcasts,
    check_flags,
    check_last_axis,
    check_params,
    check_precision,
    check_state,
    once_per_shapes,
    state_dtype,
)
from jaxgru._params import GRUParams
from jaxgru._recurrence.layout import Precision
from jaxgru._recurrence.step import Gates, fold, plan_of, project, step

Array = jax.Array


def gru_cell(
    params: GRUParams,
    h: ArrayLike,
    x: ArrayLike,
    *,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    precision: Precision = None,
) -> Array:
    """Return the state after one step.

    The equations are those of ``GRUParams``: ``h' = z * h + (1 - z) * n``.

    Args:
        params: the weights, I inputs and H units.
        h: the state before the step, ``(..., H)``.
        x: the input of the step, ``(..., I)``.
        resets: booleans ``(...)``, True where an episode begins: h is then replaced by
            ``reset_state``.
        reset_state: the state at the start of an episode, like h, or a number for all units; zeros
            if None.
        precision: the precision of the matrix products, as in ``jax.lax.dot_general``.

    Returns:
        The state after the step, ``(..., H)``, where ``...`` is h and x broadcast together. Its
        dtype is the promotion of the arguments' dtypes, at least float32.

    Raises:
        ValueError: a shape or dtype does not fit the weights, or precision is unknown.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> jaxgru.gru_cell(params, jnp.zeros(5), jnp.ones(3)).shape
    (5,)

    Source: Cho et al. 2014 (arXiv:1406.1078), in the convention of Keras.
    """
    return gru_gates(params, h, x, resets=resets, reset_state=reset_state, precision=precision).h


def gru_gates(
    params: GRUParams,
    h: ArrayLike,
    x: ArrayLike,
    *,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    precision: Precision = None,
) -> Gates:
    """Return the update gate, the reset gate, the candidate and the new state of one step.

    The equations are those of ``GRUParams``.

    Args:
        params: the weights, I inputs and H units.
        h: the state before the step, ``(..., H)``.
        x: the input of the step, ``(..., I)``.
        resets: booleans ``(...)``, True where an episode begins: h is then replaced by
            ``reset_state``.
        reset_state: the state at the start of an episode, like h, or a number for all units; zeros
            if None.
        precision: the precision of the matrix products, as in ``jax.lax.dot_general``.

    Returns:
        ``Gates(update, reset, candidate, h)``, each ``(..., H)``.

    Raises:
        ValueError: a shape or dtype does not fit the weights, or precision is unknown.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> gates = jaxgru.gru_gates(params, jnp.zeros(5), jnp.ones(3))
    >>> bool(jnp.all((gates.update > 0) & (gates.update < 1)))
    True

    Source: Cho et al. 2014 (arXiv:1406.1078), in the convention of Keras.
    """
    check_precision(precision)
    start, number = as_reset_state(reset_state, resets)
    dtype, arrays = _settled(None, params, h, x, resets, start)
    gates: Gates = _gates(*arrays, reset_number=number, precision=precision, dtype=dtype)
    return gates


@once_per_shapes
def _settled(
    _: None, params: GRUParams, h: Any, x: Any, resets: Any, reset_state: Any
) -> jnp.dtype:
    """Check that the arrays fit together; return the type of the state."""
    check_params(params)
    check_last_axis("x", x, params.input_size, "inputs")
    check_last_axis("h", h, params.hidden_size, "units")
    dtype = state_dtype(params, h=h, x=x, reset_state=reset_state)
    try:
        leading = jnp.broadcast_shapes(np.shape(h)[:-1], np.shape(x)[:-1])
    except ValueError:
        raise ValueError(
            f"h has shape {np.shape(h)} and x {np.shape(x)}: expected leading axes that broadcast "
            "together"
        ) from None
    if resets is not None:
        check_broadcasts("resets", resets, leading, "as in h and x")
        check_flags("resets", resets)
    check_state("reset_state", reset_state, leading, params.hidden_size, "as in h and x")
    return dtype


# Compiled, so that a call outside of jit is one dispatch instead of one per operation.
@functools.partial(jax.jit, static_argnames=("reset_number", "precision", "dtype"))
def _gates(
    params: GRUParams,
    h: Array,
    x: Array,
    resets: Array | None,
    reset_state: Array | None,
    *,
    reset_number: float,
    precision: Precision,
    dtype: DTypeLike,
) -> Gates:
    params, h, x, reset_state = jax.tree.map(
        lambda leaf: leaf.astype(dtype), (params, h, x, reset_state)
    )
    leading = jnp.broadcast_shapes(h.shape[:-1], x.shape[:-1])
    h = jnp.broadcast_to(h, (*leading, params.hidden_size))
    x = jnp.broadcast_to(x, (*leading, params.input_size))
    if resets is not None:
        start = jnp.full_like(h, reset_number) if reset_state is None else reset_state
        begins = jnp.broadcast_to(resets, leading)[..., None]
        h = jnp.where(begins, jnp.broadcast_to(start, h.shape), h)
    plan, weights = plan_of(params, precision), fold(params)
    return step(plan, weights, project(plan, weights, x), h).gates
