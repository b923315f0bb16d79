"""One step of a GRU: the equations themselves, and the same step with its gates shown."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgru.activations import get_activation
from jaxgru.arguments import check_last_axis, to_state_dtype
from jaxgru.params import GRUParams, check_params

Array = jax.Array

# What ``precision=`` takes: whatever jax.lax.dot_general takes.
Precision = Any


class Gates(NamedTuple):
    """What happens inside one step: update gate z, reset gate r, candidate n, new state h.

    Each has the shape of the state, ``(..., H)``.
    """

    update: Array
    reset: Array
    candidate: Array
    h: Array


def gru_cell(params: GRUParams, h: Array, x: Array, *, precision: Precision = None) -> Array:
    """Return the state after one step.

    The equations are those of ``GRUParams``: ``h' = z * h + (1 - z) * n``.

    Args:
        params: the weights, I inputs and H units.
        h: the state before the step, ``(..., H)``.
        x: the input of the step, ``(..., I)``.
        precision: of the matrix products, as in ``jax.lax.dot_general``.

    Returns:
        The state after the step, ``(..., H)``, where ``...`` is h and x broadcast together.
        Its type is that of the arguments promoted, and at least float32.

    Raises:
        ValueError: a shape or dtype does not fit the weights.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> jaxgru.gru_cell(params, jnp.zeros(5), jnp.ones(3)).shape
    (5,)

    Source: Cho et al. 2014 (arXiv:1406.1078), in the convention of Keras.
    """
    return gru_gates(params, h, x, precision=precision).h


def gru_gates(params: GRUParams, h: Array, x: Array, *, precision: Precision = None) -> Gates:
    """Return the update gate, the reset gate, the candidate and the new state of one step.

    The equations are those of ``GRUParams``; the arguments those of ``gru_cell``.

    Args:
        params: the weights, I inputs and H units.
        h: the state before the step, ``(..., H)``.
        x: the input of the step, ``(..., I)``.
        precision: of the matrix products, as in ``jax.lax.dot_general``.

    Returns:
        ``Gates(update, reset, candidate, h)``, each ``(..., H)``.

    Raises:
        ValueError: a shape or dtype does not fit the weights.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> gates = jaxgru.gru_gates(params, jnp.zeros(5), jnp.ones(3))
    >>> bool(jnp.all((gates.update > 0) & (gates.update < 1)))
    True

    Source: Cho et al. 2014 (arXiv:1406.1078), in the convention of Keras.
    """
    check_params(params)
    check_last_axis("x", x, params.input_size, "inputs")
    check_last_axis("h", h, params.hidden_size, "units")
    params, h, x = to_state_dtype(params, h=h, x=x)
    try:
        leading = jnp.broadcast_shapes(h.shape[:-1], x.shape[:-1])
    except ValueError:
        raise ValueError(
            f"h has shape {h.shape} and x {x.shape}: expected leading axes that broadcast together"
        ) from None
    h = jnp.broadcast_to(h, (*leading, params.hidden_size))
    x = jnp.broadcast_to(x, (*leading, params.input_size))
    variant = variant_of(params, precision)
    return step(variant, project(params, x, precision), h, recurrent_weights(params))


class Variant(NamedTuple):
    """All that is static in a step."""

    reset_after: bool
    activation: str
    recurrent_activation: str
    clip: float | None
    precision: Precision


class Recurrent(NamedTuple):
    """The weights a step needs once the input is projected."""

    kernel: Array  # (H, 3H)
    # The candidate's recurrent bias (H,), or None. Only with reset_after: elsewhere it is a
    # constant of the pre-activation, and so are the gates' recurrent biases: project adds those.
    candidate_bias: Array | None


def variant_of(params: GRUParams, precision: Precision) -> Variant:
    """Return the static part of the parameters, with the precision of the products."""
    return Variant(
        params.reset_after, params.activation, params.recurrent_activation, params.clip, precision
    )


def recurrent_weights(params: GRUParams) -> Recurrent:
    """Return the weights of the products with the state."""
    bias = params.recurrent_bias if params.reset_after else None
    inside = None if bias is None else bias[-params.hidden_size :]
    return Recurrent(params.recurrent_kernel, inside)


def project(params: GRUParams, x: Array, precision: Precision) -> tuple[Array, Array, Array]:
    """Return the input's part of the three pre-activations: ``(..., I)`` to three ``(..., H)``.

    Three arrays, not one cut later: a loop that slices one wide array makes XLA's CPU backend
    compute the gates one number at a time (measured, nine times slower).
    """
    units = params.hidden_size
    gates = jnp.matmul(x, params.kernel, precision=precision)
    bias = params.bias
    if params.recurrent_bias is not None:
        outside = params.recurrent_bias
        if params.reset_after:
            outside = outside.at[-units:].set(0)
        bias = outside if bias is None else bias + outside
    if bias is not None:
        gates = gates + jnp.broadcast_to(bias, gates.shape)
    z, r, n = lax.split(gates, (units, units, units), axis=gates.ndim - 1)
    return z, r, n


def step(
    variant: Variant, projected: tuple[Array, Array, Array], h: Array, recurrent: Recurrent
) -> Gates:
    """Return the gates and the new state, from the projected input and the state before."""
    gate = get_activation(variant.recurrent_activation).value
    candidate = get_activation(variant.activation).value
    units = h.shape[-1]
    xz, xr, xn = projected
    if variant.reset_after:
        products = jnp.matmul(h, recurrent.kernel, precision=variant.precision)
        hz, hr, hn = lax.split(products, (units, units, units), axis=h.ndim - 1)
        if recurrent.candidate_bias is not None:
            hn = hn + jnp.broadcast_to(recurrent.candidate_bias, hn.shape)
    else:
        to_gates, to_candidate = lax.split(recurrent.kernel, (2 * units, units), axis=1)
        products = jnp.matmul(h, to_gates, precision=variant.precision)
        hz, hr = lax.split(products, (units, units), axis=h.ndim - 1)
    z = gate(clipped(xz + hz, variant.clip))
    r = gate(clipped(xr + hr, variant.clip))
    if variant.reset_after:
        n = candidate(clipped(xn + r * hn, variant.clip))
    else:
        hn = jnp.matmul(r * h, to_candidate, precision=variant.precision)
        n = candidate(clipped(xn + hn, variant.clip))
    # This form, and not n + z * (h - n), gives h to the bit where z is 1: masks rely on it.
    return Gates(z, r, n, z * h + (1 - z) * n)


def clipped(x: Array, clip: float | None) -> Array:
    """Return x limited to [-clip, clip], or x itself where clip is None."""
    return x if clip is None else jnp.clip(x, -clip, clip)
