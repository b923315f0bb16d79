"""The loops over time: the GRU, the linear recurrence of its tangent, and its transpose.

They are functions of arrays ``(T, B, H)`` and ``(H, .)``. The linear recurrence is
``dh_t = M_t dh_{t-1} + e_t``; its transpose ``l_{t-1} = c_{t-1} + M_t' l_t`` runs in the opposite
direction.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgru._recurrence.layout import Precision, blocks, projects_in_loop, unroll_of
from jaxgru._recurrence.step import Plan, Weights, along, project, step

Array = jax.Array


class Flags(NamedTuple):
    """Valid steps and resets, booleans ``(T, B)``; None if every step is valid, or none resets."""

    valid: Array | None = None  # where False, the state is held
    resets: Array | None = None  # where True, the state before the step is replaced


class Coefficients(NamedTuple):
    """The linear map M of every step, ``(T, B, H)`` each.

    With dPz, dPr, dPh the blocks of ``dh U``, and r None if the reset gate follows the product::

        M dh = z dh + a dPz + b dPr + c dPh                    reset after
        M dh = z dh + a dPz + c (r dh + b dPr) Uh              reset before

    At a held step z is 1 and the others are 0.
    """

    z: Array
    a: Array
    b: Array
    c: Array
    r: Array | None


class Operands(NamedTuple):
    """The arrays of the forward loops."""

    weights: Weights
    xs: Array  # (T, B, I), the inputs
    h: Array  # (B, H), the state before the first step
    reset_to: Array | None  # (B, H), the state after a reset
    flags: Flags
    factors: Array | None  # (B, H), those of recurrent dropout


def forward(plan: Plan, operands: Operands) -> tuple[Array, Any]:
    """Return the last state ``(B, H)``, and the states after each step ``(T, B, H)``.

    With ``last_only``, None in place of the states after each step; with ``gates``, all steps as a
    ``Step`` without the preactivations.
    """
    weights, xs, h, reset_to, flags, factors = operands
    at_once = plan.gates or not projects_in_loop(xs.shape[-1], h.shape)

    def body(h: Array, at: Any) -> tuple[Array, Any]:
        inputs, valid, resets = at
        if resets is not None and reset_to is not None:
            h = jnp.where(resets[:, None], reset_to, h)
        if not at_once:
            inputs = project(plan, weights, inputs)
        taken = step(plan, weights, inputs, where_valid(valid, h), factors)
        after = taken.gates.h if valid is None else jnp.where(valid[:, None], taken.gates.h, h)
        if plan.gates:
            return after, taken._replace(gates=taken.gates._replace(h=after), preactivations=None)
        return after, None if plan.last_only else after

    inputs = project(plan, weights, xs) if at_once else xs
    holds = flags.valid is not None
    unroll = 1 if plan.gates else unroll_of(xs.shape[0], h.shape, holds=holds)
    # Without the barrier, XLA computes the last state separately if it unrolls a short loop, and
    # the last bit may differ.
    return lax.optimization_barrier(  # type: ignore[no-untyped-call,no-any-return]
        lax.scan(body, h, (inputs, *flags), reverse=plan.reverse, unroll=unroll)
    )


def where_valid(valid: Array | None, array: Array) -> Array:
    """Return ``array (..., B, H)`` with zeros at held steps.

    A held step is computed from a zero state and then dropped, so that it cannot overflow or have
    an infinite derivative.
    """
    return array if valid is None else jnp.where(valid[..., None], array, jnp.zeros_like(array))


def linear(
    coefficients: Coefficients,
    transposed_kernel: Array,
    forcing: Array,
    dh: Array,
    flags: Flags,
    factors: Array | None,
    precision: Precision,
    *,
    reverse: bool,
) -> tuple[Array, Array]:
    """Return the last state ``(B, H)`` of ``dh_t = M_t dh_{t-1} + e_t``, and all ``(T, B, H)``.

    ``forcing`` is ``e (T, B, H)``, ``dh (B, H)`` the state before the first step. The recurrent
    kernel is transposed, ``(3H, H)``, once in memory for this loop and for its transpose. A reset
    sets the state before its step to zero.
    """

    def body(dh: Array, at: Any) -> tuple[Array, Array]:
        coefficients, forcing, flags = at
        dh = map_step(coefficients, transposed_kernel, dh, flags, factors, precision) + forcing
        return dh, dh

    return lax.scan(body, dh, (coefficients, forcing, flags), reverse=reverse)


def transposed(
    coefficients: Coefficients,
    transposed_kernel: Array,
    cotangents: Array,
    cotangent: Array,
    flags: Flags,
    factors: Array | None,
    precision: Precision,
    *,
    reverse: bool,
) -> tuple[Array, Array]:
    """Return the cotangents of the state before a linear recurrence, and of its forcing.

    They are ``(B, H)`` and ``(T, B, H)``, computed from the ``cotangents`` of all its states and
    the ``cotangent`` of its last state as a separate output. ``reverse`` is that of the linear
    recurrence; this loop runs in the opposite direction.
    """

    def body(carry: Array, at: Any) -> tuple[Array, Array]:
        coefficients, cotangent, flags = at
        of_forcing = carry + cotangent
        back = transposed_step(
            coefficients, transposed_kernel, of_forcing, flags, factors, precision
        )
        return back, of_forcing

    return lax.scan(body, cotangent, (coefficients, cotangents, flags), reverse=not reverse)


def map_step(
    coefficients: Coefficients,
    transposed_kernel: Array,
    dh: Array,
    flags: Flags,
    factors: Array | None,
    precision: Precision,
) -> Array:
    """Return ``M dh`` of one step, ``(B, H)``, or of all steps at once, ``(T, B, H)``."""
    z, a, b, c, r = coefficients
    if flags.resets is not None:
        dh = jnp.where(flags.resets[..., None], jnp.zeros_like(dh), dh)
    # The coefficients of a held step are 0, but 0 times a product that overflows is NaN.
    entering = where_valid(flags.valid, dh)
    if factors is not None:
        entering = along(factors, entering) * entering
    if r is None:
        pz, pr, pn = _times_kernel(entering, transposed_kernel, precision)
        return z * dh + a * pz + b * pr + c * pn
    units = dh.shape[-1]
    pz, pr = _times_kernel(entering, transposed_kernel[: 2 * units], precision)
    (pn,) = _times_kernel(r * entering + b * pr, transposed_kernel[2 * units :], precision)
    return z * dh + a * pz + c * pn


def transposed_step(
    coefficients: Coefficients,
    transposed_kernel: Array,
    cotangent: Array,
    flags: Flags,
    factors: Array | None,
    precision: Precision,
) -> Array:
    """Return ``M' l`` of one step, ``(B, H)``, or of all steps at once, ``(T, B, H)``."""
    z, a, b, c, r = coefficients
    if r is None:
        parts = [a * cotangent, b * cotangent, c * cotangent]
        entering = _times_transposed(parts, transposed_kernel, precision)
    else:
        units = cotangent.shape[-1]
        inside = _times_transposed([c * cotangent], transposed_kernel[2 * units :], precision)
        parts = [a * cotangent, b * inside]
        entering = r * inside + _times_transposed(parts, transposed_kernel[: 2 * units], precision)
    if factors is not None:
        entering = along(factors, entering) * entering
    back = z * cotangent + entering
    if flags.resets is not None:
        back = jnp.where(flags.resets[..., None], jnp.zeros_like(back), back)
    return back


def _times_kernel(dh: Array, transposed_kernel: Array, precision: Precision) -> list[Array]:
    """Return the blocks of ``dh U``."""
    over_units = (((dh.ndim - 1,), (1,)), ((), ()))
    products = lax.dot_general(dh, transposed_kernel, over_units, precision=precision)
    return blocks(products, len(transposed_kernel) // dh.shape[-1])


def _times_transposed(parts: list[Array], transposed_kernel: Array, precision: Precision) -> Array:
    """Return ``[parts] U'``, with the parts joined along the last axis.

    They are stacked along a new axis and reshaped, because XLA's CPU backend then fuses them. With
    a concatenation along the last axis it computes each part, then copies (measured for one
    sequence of 64 units: 0.84 microseconds a step, against 0.47).
    """
    *leading, units = parts[0].shape
    wide = jnp.stack(parts, axis=-2).reshape(*leading, len(parts) * units)
    return jnp.matmul(wide, transposed_kernel, precision=precision)


def states_before(ys: Array, h: Array, *, reverse: bool) -> Array:
    """Return the states before each step, from the states after each and the first state."""
    return jnp.concatenate([ys[1:], h[None]] if reverse else [h[None], ys[:-1]])
