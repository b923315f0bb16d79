"""The loop over time."""

import jax
from jax import lax

from jaxgru.cell import Recurrent, Variant, step

Array = jax.Array


def recur(
    variant: Variant,
    projected: tuple[Array, Array, Array],
    recurrent: Recurrent,
    h0: Array,
    *,
    reverse: bool,
) -> Array:
    """Return the states after each step, ``(T, B, H)``, from inputs projected to the same shape."""

    def body(h: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        h = step(variant, inputs, h, recurrent).h
        return h, h

    return lax.scan(body, h0, projected, reverse=reverse)[1]
