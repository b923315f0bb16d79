"""The two loops over time, and no third: the GRU itself, and the linear recurrence of its tangent.

Both are plain: arrays ``(T, B, H)`` and ``(H, .)``, nothing of layouts, masks or files. The
transpose of the second, which is the loop of the backward pass, JAX derives: it is of the same
kind, backwards, with the recurrent kernel transposed.
"""

from typing import NamedTuple

import jax
from jax import lax

from jaxgru.cell import Precision, Variant, Weights, product_blocks, split_candidate, step

Array = jax.Array


def gru_loop(
    variant: Variant,
    weights: Weights,
    projected: tuple[Array, Array, Array],
    h0: Array,
    *,
    reverse: bool,
    unroll: int,
) -> Array:
    """Return the states after each step, ``(T, B, H)``, from inputs projected to that shape."""

    def body(h: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        h = step(variant, weights, inputs, h).gates.h
        return h, h

    return lax.scan(body, h0, projected, reverse=reverse, unroll=unroll)[1]


class AfterProduct(NamedTuple):
    """The tangent of a step whose reset gate comes after the product, ``(T, B, H)`` each.

    With dPz, dPr, dPh the blocks of ``dh U``: ``dh' = z dh + a dPz + b dPr + c dPh``.
    """

    z: Array
    a: Array
    b: Array
    c: Array

    def apply(self, dh: Array, recurrent_kernel: Array, precision: Precision) -> Array:
        """Return dh' of one step."""
        pz, pr, pn = product_blocks(dh, recurrent_kernel, 3, precision)
        return self.z * dh + self.a * pz + self.b * pr + self.c * pn


class BeforeProduct(NamedTuple):
    """The tangent of a step whose reset gate comes before the product, ``(T, B, H)`` each.

    With dPz, dPr the blocks of ``dh [Uz Ur]``: ``dh' = z dh + a dPz + c (r dh + b dPr) Uh``.
    """

    z: Array
    a: Array
    b: Array
    c: Array
    r: Array

    def apply(self, dh: Array, recurrent_kernel: Array, precision: Precision) -> Array:
        """Return dh' of one step."""
        to_gates, to_candidate = split_candidate(recurrent_kernel)
        pz, pr = product_blocks(dh, to_gates, 2, precision)
        (pn,) = product_blocks(self.r * dh + self.b * pr, to_candidate, 1, precision)
        return self.z * dh + self.a * pz + self.c * pn


def linear_loop(
    coefficients: AfterProduct | BeforeProduct,
    recurrent_kernel: Array,
    forcing: Array,
    dh0: Array,
    precision: Precision,
    *,
    reverse: bool,
) -> Array:
    """Return the tangents of the states after each step: dh' as above, plus the forcing."""

    def body(dh: Array, inputs: tuple[AfterProduct | BeforeProduct, Array]) -> tuple[Array, Array]:
        coefficients, forcing = inputs
        dh = coefficients.apply(dh, recurrent_kernel, precision) + forcing
        return dh, dh

    return lax.scan(body, dh0, (coefficients, forcing), reverse=reverse)[1]
