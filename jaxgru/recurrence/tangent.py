"""The derivative of every step at once: what drives and shapes the linear recurrence.

A tangent that is zero is None throughout, and costs nothing.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxgru.activations import get_activation
from jaxgru.recurrence.scan import AfterProduct, BeforeProduct, Coefficients
from jaxgru.recurrence.step import (
    Controls,
    Step,
    Variant,
    Weights,
    blocks,
    clipped,
    matmul,
    scaled,
    split_candidate,
)

Array = jax.Array


def linearise(
    variant: Variant, controls: Controls, steps: Step, hs: Array
) -> tuple[Coefficients, Array]:
    """Return the coefficients of the recurrence, and how far the candidate moves the state.

    From all steps ``(T, B, H)`` of a sequence and the states before them.
    """
    z, r, n, _ = steps.gates
    az, ar, an = steps.preactivations or (None, None, None)
    a = (hs - n) * _slope(variant.clip, variant.recurrent_activation, az, z)
    if controls.valid is not None:
        a = jnp.where(controls.valid[..., None], a, jnp.zeros_like(a))
    slope_r = _slope(variant.clip, variant.recurrent_activation, ar, r)
    to_candidate = (1 - z) * _slope(variant.clip, variant.activation, an, n)
    if variant.reset_after:
        assert steps.inside_reset is not None  # for the type checker
        b = to_candidate * steps.inside_reset * slope_r
        return AfterProduct(z, a, b, to_candidate * r), to_candidate
    b = _entering(controls, hs) * slope_r
    return BeforeProduct(z, a, b, to_candidate, r), to_candidate


def forcing(
    variant: Variant,
    weights: Weights,
    controls: Controls,
    coefficients: Coefficients,
    to_candidate: Array,
    transposed_kernel: Array,
    xs: Array,
    hs: Array,
    dweights: Weights,
    dxs: Array | None,
    dh0: Array | None,
) -> Array:
    """Return how the state after each step moves while the state before it is held.

    The arrays are those of all steps: inputs ``(T, B, I)``, states before them ``(T, B, H)``.
    """
    product = functools.partial(matmul, precision=variant.precision)
    entering = _entering(controls, hs)
    xz, xr, xn = _blocks(
        _sum(
            None if dxs is None else product(dxs, weights.kernel),
            None if dweights.kernel is None else product(xs, dweights.kernel),
            _along(dweights.bias, hs),
        ),
        3,
    )
    du = dweights.recurrent_kernel
    if isinstance(coefficients, AfterProduct):
        hz, hr, hn = _blocks(None if du is None else product(entering, du), 3)
        moved = [
            _scale(coefficients.a, _sum(xz, hz)),
            _scale(coefficients.b, _sum(xr, hr)),
            _scale(coefficients.c, _sum(hn, _along(dweights.candidate_bias, hs))),
            _scale(to_candidate, xn),
        ]
    else:
        _, u_candidate = split_candidate(weights.recurrent_kernel)
        du_gates, du_candidate = (None, None) if du is None else split_candidate(du)
        hz, hr = _blocks(None if du_gates is None else product(entering, du_gates), 2)
        reset = _scale(coefficients.b, _sum(xr, hr))
        moved = [
            _scale(coefficients.a, _sum(xz, hz)),
            _scale(
                to_candidate,
                _sum(
                    xn,
                    None if reset is None else product(reset, u_candidate),
                    None
                    if du_candidate is None
                    else product(coefficients.r * entering, du_candidate),
                ),
            ),
        ]
    if controls.resets is not None and dh0 is not None:
        dh = jnp.where(controls.resets[..., None], dh0[None], jnp.zeros_like(hs))
        into = _entering(controls, dh)
        moved.append(coefficients.apply(dh, into, transposed_kernel, variant.precision))
    total = _sum(*moved)
    return jnp.zeros_like(hs) if total is None else total


def _entering(controls: Controls, hs: Array) -> Array:
    """Return states, or their tangents, as they enter the products."""
    factors = controls.recurrent_dropout
    return hs if factors is None else scaled(hs, factors)


def _slope(clip: float | None, activation: str, x: Array | None, y: Array) -> Array:
    """Return the derivative of ``activation(clipped(x))``, which is y."""
    slope = get_activation(activation).slope
    if clip is None or x is None:
        return slope(x, y)
    inner = slope(clipped(x, clip), y)
    return jnp.where(jnp.abs(x) < clip, inner, jnp.zeros_like(inner))


def _sum(*terms: Array | None) -> Array | None:
    """Return the sum of those that are not zero."""
    present = [term for term in terms if term is not None]
    return functools.reduce(jnp.add, present) if present else None


def _scale(factor: Array, term: Array | None) -> Array | None:
    return None if term is None else factor * term


def _along(vector: Array | None, like: Array) -> Array | None:
    """Repeat a vector at every step and sequence of ``like (T, B, H)``."""
    return None if vector is None else jnp.broadcast_to(vector, (*like.shape[:-1], len(vector)))


def _blocks(term: Array | None, count: int) -> Sequence[Array | None]:
    return [None] * count if term is None else blocks(term, count)
