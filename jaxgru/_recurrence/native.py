"""The loops of scan.py as calls of the compiled ones, for CPUs.

Same arguments, same results to rounding. Only sizes are checked beyond this file, in the library
itself.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxgru._recurrence.scan import Coefficients, Flags, Operands
from jaxgru._recurrence.step import Gates, Plan, Step

Array = jax.Array


def forward(plan: Plan, operands: Operands) -> tuple[Array, Any]:
    """Return the last state, and the states after each step or the steps, see ``scan.forward``."""
    weights, xs, h, reset_to, flags, factors = operands
    sequence = (xs.shape[0], *h.shape)
    last, ys, z, r, n, inside_reset = _call(
        "jaxgru_forward",
        [xs, *weights, h, reset_to, factors, *flags],
        [h.shape, None if plan.last_only else sequence, *[sequence if plan.gates else None] * 4],
        h.dtype,
        reset_after=plan.reset_after,
        reverse=plan.reverse,
    )
    if plan.gates:
        return last, Step(Gates(z, r, n, ys), inside_reset, None)
    return last, None if plan.last_only else ys


def linear(
    coefficients: Coefficients,
    transposed_kernel: Array,
    forcing: Array,
    dh: Array,
    flags: Flags,
    factors: Array | None,
    precision: Any,
    *,
    reverse: bool,
    transposed: bool = False,
) -> tuple[Array, Array]:
    """Return the last and all of a linear recurrence, see ``scan.linear``."""
    state, sequence = _call(
        "jaxgru_linear",
        [*coefficients, transposed_kernel, forcing, dh, factors, *flags],
        [dh.shape, forcing.shape],
        dh.dtype,
        reverse=reverse,
        transposed=transposed,
    )
    return state, sequence


# The same for the transpose, see ``scan.transposed``.
transposed = functools.partial(linear, transposed=True)


def _call(
    name: str,
    operands: list[Array | None],
    results: list[tuple[int, ...] | None],
    dtype: Any,
    **attributes: bool,
) -> list[Array]:
    """Call a handler; an array that is absent has no element there."""
    struct: Any = jax.ShapeDtypeStruct
    types = [struct(shape or (0,), dtype) for shape in results]
    absent = jnp.zeros(0, dtype)
    given = [absent if operand is None else operand for operand in operands]
    return list(jax.ffi.ffi_call(name, types)(*given, **attributes))
