"""The states of one layer over time, and their derivative.

The derivative of a GRU's states is itself a recurrence, and a linear one (loops.py), driven by
the tangents of inputs and weights. Its coefficients follow from the states alone, for all steps
at once, so nothing else is kept for the backward pass, whose loop then holds one product and no
transcendental; the gradients of the weights are large products outside it. Being a
``jax.custom_jvp``, the one rule serves forward mode, reverse mode, and both of them again on top
of it.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxgru.activations import get_activation
from jaxgru.cell import (
    Step,
    Variant,
    Weights,
    blocks,
    clipped,
    matmul,
    project,
    split_candidate,
    step,
)
from jaxgru.loops import AfterProduct, BeforeProduct, gru_loop, linear_loop
from jaxgru.schedule import chunk_steps, over_chunks, unroll_of

Array = jax.Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def states(variant: Variant, reverse: bool, weights: Weights, xs: Array, h0: Array) -> Array:
    """Return the states after each step, ``(T, B, H)``, of inputs ``(T, B, I)``; T at least 1."""

    def chunk(h: Array, xs: Array) -> tuple[Array, Array]:
        projected = project(weights, xs, variant.precision)
        ys = gru_loop(variant, weights, projected, h, reverse=reverse, unroll=unroll_of(h.shape))
        return ys[0 if reverse else -1], ys

    return over_chunks(chunk, h0, xs, chunk_steps(len(xs), h0.shape), reverse=reverse)


def _states_jvp(
    variant: Variant, reverse: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    weights, xs, h0 = primals
    dweights, dxs, dh0 = jax.tree.map(
        lambda t: None if isinstance(t, SymbolicZero) else t,
        tangents,
        is_leaf=lambda t: isinstance(t, SymbolicZero),
    )
    ys = states(variant, reverse, weights, xs, h0)
    before = jnp.concatenate([ys[1:], h0[None]] if reverse else [h0[None], ys[:-1]])

    # The checkpoint leaves the coefficients to the backward pass, one chunk of them at a time.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def chunk(dh: Array, inputs: tuple[Array, Array, Array | None]) -> tuple[Array, Array]:
        xs, hs, dxs = inputs
        steps = step(variant, weights, project(weights, xs, variant.precision), hs)
        coefficients, forcing = _linearise(variant, weights, dweights, steps, xs, hs, dxs)
        dys = linear_loop(
            coefficients, weights.recurrent_kernel, forcing, dh, variant.precision, reverse=reverse
        )
        return dys[0 if reverse else -1], dys

    dh0 = jnp.zeros_like(h0) if dh0 is None else dh0
    inputs = (xs, before, dxs)
    return ys, over_chunks(chunk, dh0, inputs, chunk_steps(len(xs), h0.shape), reverse=reverse)


states.defjvp(_states_jvp, symbolic_zeros=True)


def _linearise(
    variant: Variant,
    weights: Weights,
    dweights: Weights,
    steps: Step,
    xs: Array,
    hs: Array,
    dxs: Array | None,
) -> tuple[AfterProduct | BeforeProduct, Array]:
    """Return the linear recurrence of the tangents: its coefficients, and what drives it.

    A tangent that is zero is None, and costs nothing.
    """
    product = functools.partial(matmul, precision=variant.precision)
    z, r, n, _ = steps.gates
    slope = functools.partial(_slope, variant.clip)
    slope_r = slope(variant.recurrent_activation, steps.reset_input, r)
    to_update = (hs - n) * slope(variant.recurrent_activation, steps.update_input, z)
    to_candidate = (1 - z) * slope(variant.activation, steps.candidate_input, n)

    xz, xr, xn = _blocks(
        None if dxs is None else product(dxs, weights.kernel),
        None if dweights.kernel is None else product(xs, dweights.kernel),
        _along(dweights.bias, hs),
    )
    du = dweights.recurrent_kernel
    if variant.reset_after:
        hz, hr, hn = _blocks(None if du is None else product(hs, du))
        hn = _sum(hn, _along(dweights.candidate_bias, hs))
        coefficients: AfterProduct | BeforeProduct = AfterProduct(
            z, a=to_update, b=to_candidate * steps.inside_reset * slope_r, c=to_candidate * r
        )
        forcing = _sum(
            _scale(coefficients.a, _sum(xz, hz)),
            _scale(coefficients.b, _sum(xr, hr)),
            _scale(coefficients.c, hn),
            _scale(to_candidate, xn),
        )
    else:
        _, u_candidate = split_candidate(weights.recurrent_kernel)
        du_gates, du_candidate = (None, None) if du is None else split_candidate(du)
        hz, hr = _blocks(None if du_gates is None else product(hs, du_gates), count=2)
        coefficients = BeforeProduct(z, a=to_update, b=hs * slope_r, c=to_candidate, r=r)
        through_reset = _scale(coefficients.b, _sum(xr, hr))
        forcing = _sum(
            _scale(coefficients.a, _sum(xz, hz)),
            _scale(
                coefficients.c,
                _sum(
                    xn,
                    None if through_reset is None else product(through_reset, u_candidate),
                    None if du_candidate is None else product(r * hs, du_candidate),
                ),
            ),
        )
    return coefficients, jnp.zeros_like(z) if forcing is None else forcing


def _slope(clip: float | None, activation: str, x: Array, y: Array) -> Array:
    """Return the derivative of ``activation(clipped(x))``, which is y."""
    slope = get_activation(activation).slope(clipped(x, clip), y)
    return slope if clip is None else jnp.where(jnp.abs(x) < clip, slope, jnp.zeros_like(slope))


def _sum(*terms: Array | None) -> Array | None:
    """Return the sum of those that are not zero."""
    present = [term for term in terms if term is not None]
    return functools.reduce(jnp.add, present) if present else None


def _scale(factor: Array, term: Array | None) -> Array | None:
    return None if term is None else factor * term


def _along(vector: Array | None, like: Array) -> Array | None:
    """Repeat a vector at every step and sequence of ``like (T, B, H)``."""
    return None if vector is None else jnp.broadcast_to(vector, (*like.shape[:-1], len(vector)))


def _blocks(*terms: Array | None, count: int = 3) -> Sequence[Array | None]:
    """Cut the sum of the terms into the blocks of the gates."""
    total = _sum(*terms)
    return [None] * count if total is None else blocks(total, count)
