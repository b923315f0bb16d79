"""The loops of scan.py as calls of the library of ``jaxgru-native``, for CPUs.

Same arguments, same results to rounding. Only sizes are checked beyond this file, in the library
itself.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxgru._optional import need
from jaxgru._recurrence.scan import Coefficients, Flags, Operands
from jaxgru._recurrence.step import Step, Variant, steps_of

Array = jax.Array


def forward(
    variant: Variant, operands: Operands, *, reverse: bool, last_only: bool
) -> tuple[Array, Array | None]:
    """Return the last state, and the states after each step, see ``scan.forward``."""
    last, ys, *_ = _forward(variant, operands, reverse, last_only=last_only, gates=False)
    return last, None if last_only else ys


def forward_gates(variant: Variant, operands: Operands, *, reverse: bool) -> tuple[Array, Step]:
    """Return the last state, and all steps with their gates, see ``scan.forward_gates``."""
    last, *steps = _forward(variant, operands, reverse, last_only=False, gates=True)
    return last, steps_of(steps)


def _forward(
    variant: Variant, operands: Operands, reverse: bool, *, last_only: bool, gates: bool
) -> list[Array]:
    weights, xs, h, reset_to, flags, factors = operands
    sequence = (xs.shape[0], *h.shape)
    return _call(
        "jaxgru_forward",
        [xs, *weights, h, reset_to, factors, *flags],
        [h.shape, None if last_only else sequence, *[sequence if gates else None] * 4],
        h.dtype,
        reset_after=variant.reset_after,
        reverse=reverse,
    )


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
    _register()
    struct: Any = jax.ShapeDtypeStruct
    types = [struct(shape or (0,), dtype) for shape in results]
    absent = jnp.zeros(0, dtype)
    given = [absent if operand is None else operand for operand in operands]
    return list(jax.ffi.ffi_call(name, types)(*given, **attributes))


@functools.cache
def _register() -> None:
    """Make the handlers of the library known to XLA, once in a process."""
    package = need("jaxgru_native", "native", "the native loops")
    library = package.library()
    for name in package.HANDLERS:
        handler = jax.ffi.pycapsule(getattr(library, name))  # type: ignore[no-untyped-call]
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
