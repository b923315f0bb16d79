"""One step of a GRU: the equations, in terms of arrays alone."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgru.activations import get_activation
from jaxgru.params import GRUParams
from jaxgru.recurrence.layout import is_written_out, keeps_axes

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


class Variant(NamedTuple):
    """All that is static in a step."""

    reset_after: bool
    activation: str
    recurrent_activation: str
    clip: float | None
    precision: Precision


class Weights(NamedTuple):
    """The arrays of a step, with the two biases folded into what a step adds where."""

    kernel: Array  # (I, 3H)
    recurrent_kernel: Array  # (H, 3H)
    bias: Array | None  # (3H,), all that is added outside the reset gate
    candidate_bias: Array | None  # (H,), added inside it: only where reset_after


class Controls(NamedTuple):
    """What acts on single steps and sequences from outside; None where nothing does."""

    valid: Array | None = None  # (T, B), bool: where False, the state is held
    resets: Array | None = None  # (T, B), bool: where True, the state is first set to h0
    recurrent_dropout: Array | None = None  # (B, H): factors of the state in the products

    def by_step(self) -> "Controls":
        """Return those that differ from step to step."""
        return self._replace(recurrent_dropout=None)


class Step(NamedTuple):
    """One step: its gates, and what else its derivative starts from."""

    gates: Gates
    inside_reset: Array | None  # what the reset gate multiplied: h Uh + ch, or h
    # What the activations were applied to, before the clip: update, reset, candidate.
    preactivations: tuple[Array, Array, Array] | None


def variant_of(params: GRUParams, precision: Precision) -> Variant:
    """Return the static part of the parameters, with the precision of the products."""
    return Variant(
        params.reset_after, params.activation, params.recurrent_activation, params.clip, precision
    )


def fold(params: GRUParams) -> Weights:
    """Return the arrays of a step."""
    bias, outside, inside = params.bias, params.recurrent_bias, None
    if params.reset_after and outside is not None:
        inside = outside[-params.hidden_size :]
        outside = outside.at[-params.hidden_size :].set(0)
    if bias is None or outside is None:
        bias = outside if bias is None else bias
    else:
        bias = bias + outside
    return Weights(params.kernel, params.recurrent_kernel, bias, inside)


def project(weights: Weights, x: Array, precision: Precision) -> tuple[Array, Array, Array]:
    """Return the input's products with the three blocks of the kernel, each ``(..., H)``.

    Three arrays, not one cut later: a loop that slices one wide array makes XLA's CPU backend
    compute the gates one number at a time (measured, nine times slower). To get them, the smaller
    of the kernel and the product is cut, as that copies it.
    """
    if math.prod(x.shape[:-1]) < x.shape[-1] or is_written_out(x.shape):
        z, r, n = product_blocks(x, weights.kernel, 3, precision)
    else:
        z, r, n = (matmul(x, block, precision) for block in blocks(weights.kernel))
    return z, r, n


def step(
    variant: Variant,
    weights: Weights,
    projected: tuple[Array, Array, Array],
    h: Array,
    valid: Array | None = None,
    recurrent_dropout: Array | None = None,
) -> Step:
    """Return one step, or many at once: from the projected inputs and the states before."""
    gate = get_activation(variant.recurrent_activation).value
    candidate = get_activation(variant.activation).value
    entering = h if recurrent_dropout is None else scaled(h, recurrent_dropout)
    xz, xr, xn = projected
    if weights.bias is not None:
        xz, xr, xn = (add_bias(x, b) for x, b in zip(projected, blocks(weights.bias), strict=True))
    if variant.reset_after:
        hz, hr, inside = product_blocks(entering, weights.recurrent_kernel, 3, variant.precision)
        if weights.candidate_bias is not None:
            inside = add_bias(inside, weights.candidate_bias)
    else:
        to_gates, to_candidate = split_candidate(weights.recurrent_kernel)
        hz, hr = product_blocks(entering, to_gates, 2, variant.precision)
        inside = entering
    az, ar = xz + hz, xr + hr
    z, r = gate(clipped(az, variant.clip)), gate(clipped(ar, variant.clip))
    if variant.reset_after:
        an = xn + r * inside
    else:
        (hn,) = product_blocks(r * inside, to_candidate, 1, variant.precision)
        an = xn + hn
    n = candidate(clipped(an, variant.clip))
    if valid is not None:
        z = jnp.where(valid[..., None], z, jnp.ones_like(z))
    # This form, and not n + z * (h - n), gives h to the bit where z is 1, that is where not valid.
    return Step(Gates(z, r, n, z * h + (1 - z) * n), inside, (az, ar, an))


def product_blocks(h: Array, kernel: Array, count: int, precision: Precision) -> list[Array]:
    """Return the blocks of ``h @ kernel``, ``(..., H)`` each."""
    if is_written_out(h.shape):
        return [_written_out(h, block) for block in blocks(kernel, count)]
    return blocks(matmul(h, kernel, precision), count)


def _written_out(h: Array, kernel: Array) -> Array:
    """Return ``h @ kernel`` as a sum of one term for each unit, which compiles into the gates."""
    return functools.reduce(
        jnp.add, (h[:, i : i + 1] * kernel[i : i + 1] for i in range(len(kernel)))
    )


def matmul(x: Array, matrix: Array, precision: Precision) -> Array:
    """Return ``x @ matrix`` for any leading axes of x, taken as one.

    With several leading axes, XLA's CPU backend transposes the whole operand in memory to form
    the gradient of the matrix (measured: a third of the backward pass).
    """
    if x.ndim <= 2 or keeps_axes():
        return jnp.matmul(x, matrix, precision=precision)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    products = jnp.matmul(rows, matrix, precision=precision)
    return products.reshape(*x.shape[:-1], matrix.shape[-1])


def blocks(array: Array, count: int = 3) -> list[Array]:
    """Cut the last axis into equal blocks, as many as there are gates in it."""
    return list(lax.split(array, (array.shape[-1] // count,) * count, axis=array.ndim - 1))


def split_candidate(kernel: Array) -> tuple[Array, Array]:
    """Cut a recurrent kernel into the gates' part ``(H, 2H)`` and the candidate's ``(H, H)``."""
    units = kernel.shape[0]
    gates, candidate = lax.split(kernel, (2 * units, units), axis=1)
    return gates, candidate


def add_bias(x: Array, bias: Array) -> Array:
    """Add a vector to the last axis; said in full, as strict rank promotion asks."""
    return x + jnp.broadcast_to(bias, x.shape)


def scaled(h: Array, factors: Array) -> Array:
    """Multiply states ``(..., B, H)`` by factors ``(B, H)``."""
    return h * jnp.broadcast_to(factors, h.shape)


def clipped(x: Array, clip: float | None) -> Array:
    """Return x limited to [-clip, clip], or x itself where clip is None."""
    return x if clip is None else jnp.clip(x, -clip, clip)
