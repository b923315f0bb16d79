"""The coefficients and the forcing of the linear recurrence, for all steps at once.

A zero tangent is None and is not computed with.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxgru._activations import ActivationLike, get_activation
from jaxgru._recurrence.layout import blocks, product
from jaxgru._recurrence.scan import Coefficients, Flags, map_step, where_valid
from jaxgru._recurrence.step import (
    Plan,
    Step,
    Weights,
    along,
    clipped,
    split_candidate,
    without_spare,
)

Array = jax.Array


def linearise(
    plan: Plan, flags: Flags, factors: Array | None, steps: Step, hs: Array
) -> tuple[Coefficients, Array]:
    """Return the coefficients of the recurrence, and d = (1 - z) phi', each ``(T, B, H)``.

    ``steps`` are all steps of a sequence, ``hs`` the states before them, ``f`` the factors of
    recurrent dropout::

        a = (h - n) z'       b = d (h Uh + ch) r'     c = d r         reset after
        a = (h - n) z'       b = f h r'               c = d           reset before
    """
    z, r, n, _ = steps.gates
    az, ar, an = steps.preactivations or (None, None, None)
    a = (hs - n) * _slope(plan.clip, plan.recurrent_activation, az, z)
    slope_r = _slope(plan.clip, plan.recurrent_activation, ar, r)
    d = (1 - z) * _slope(plan.clip, plan.activation, an, n)
    if plan.reset_after:
        b, c = d * steps.inside_reset * slope_r, d * r
    else:
        b, c = _with_dropout(factors, hs) * slope_r, d
    if flags.valid is not None:
        z = jnp.where(flags.valid[..., None], z, jnp.ones_like(z))
        a, b, c, d, r = (where_valid(flags.valid, array) for array in (a, b, c, d, r))
    return Coefficients(z, a, b, c, None if plan.reset_after else r), d


def forcing(
    plan: Plan,
    weights: Weights,
    coefficients: Coefficients,
    d: Array,
    transposed_kernel: Array,
    xs: Array,
    hs: Array,
    flags: Flags,
    factors: Array | None,
    dweights: Weights,
    dxs: Array | None,
    dreset_to: Array | None,
) -> Array:
    """Return the tangent of each step's state for a fixed state before it, ``(T, B, H)``.

    ``xs`` are the inputs ``(T, B, I)``, ``hs`` the states before the steps. With dgz, dgr, dgx the
    tangents of the blocks of ``x W + bias``, and h the states times the factors::

        a (dgz + h dUz) + b (dgr + h dUr) + c (h dUh + dch) + d dgx          reset after
        a (dgz + h dUz) + c (dgx + b (dgr + h dUr) Uh + (r h) dUh)           reset before
    """
    times = functools.partial(product, precision=plan.precision)
    _, a, b, c, r = coefficients
    entering = _with_dropout(factors, hs)
    xz, xr, xn = _blocks(
        _sum(
            None if dxs is None else times(dxs, weights.kernel),
            None if dweights.kernel is None else times(xs, dweights.kernel),
            _along(dweights.bias, hs),
        ),
        3,
    )
    du = dweights.recurrent_kernel
    if r is None:
        hz, hr, hn = _blocks(None if du is None else times(entering, du), 3)
        moved = [
            _scale(a, _sum(xz, hz)),
            _scale(b, _sum(xr, hr)),
            _scale(c, _sum(hn, _along(dweights.candidate_bias, hs))),
            _scale(d, xn),
        ]
    else:
        _, u_candidate = split_candidate(weights.recurrent_kernel)
        du_gates, du_candidate = (None, None) if du is None else split_candidate(du)
        hz, hr = _blocks(None if du_gates is None else times(entering, du_gates), 2)
        reset = _scale(b, _sum(xr, hr))
        into_candidate = _sum(
            xn,
            None if reset is None else times(reset, u_candidate),
            None if du_candidate is None else times(r * entering, du_candidate),
        )
        moved = [_scale(a, _sum(xz, hz)), _scale(c, into_candidate)]
    if flags.resets is not None and dreset_to is not None:
        at_resets = jnp.where(flags.resets[..., None], along(dreset_to, hs), jnp.zeros_like(hs))
        kept = flags._replace(resets=None)
        moved.append(
            map_step(coefficients, transposed_kernel, at_resets, kept, factors, plan.precision)
        )
    total = _sum(*moved)
    return jnp.zeros_like(hs) if total is None else without_spare(plan, total)


def _with_dropout(factors: Array | None, hs: Array) -> Array:
    """Return states times the factors of recurrent dropout."""
    return hs if factors is None else along(factors, hs) * hs


def _slope(clip: float | None, activation: ActivationLike, x: Array | None, y: Array) -> Array:
    """Return the derivative of ``y = activation(clipped(x))``."""
    slope = get_activation(activation).slope
    if clip is None or x is None:
        return slope(x, y)
    inner = slope(clipped(x, clip), y)
    return jnp.where(jnp.abs(x) < clip, inner, jnp.zeros_like(inner))


def _sum(*terms: Array | None) -> Array | None:
    """Return the sum of the terms that are not None."""
    present = [term for term in terms if term is not None]
    return functools.reduce(jnp.add, present) if present else None


def _scale(factor: Array, term: Array | None) -> Array | None:
    return None if term is None else factor * term


def _along(vector: Array | None, like: Array) -> Array | None:
    return None if vector is None else along(vector, like)


def _blocks(term: Array | None, count: int) -> Sequence[Array | None]:
    return [None] * count if term is None else blocks(term, count)
