"""The oracle for derivatives: the sequence as a user would write it, a scan over ``gru_cell``.

JAX differentiates it through every operation, by no rule of jaxgru's.
"""

import jax
import jax.numpy as jnp

import jaxgru


def plain_loop(params, xs, h0, *, reverse=False):
    """Return the states (B, T, H) and the last state (B, H) for xs (B, T, I) and h0 (B, H)."""

    def body(h, x):
        h = jaxgru.gru_cell(params, h, x)
        return h, h

    h, ys = jax.lax.scan(body, h0, jnp.swapaxes(xs, 0, 1), reverse=reverse)
    return jnp.swapaxes(ys, 0, 1), h


def weighted_loss(outputs, weights):
    """Return the sum of all outputs, each with a weight: a plain sum would hide swapped steps."""
    return sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
