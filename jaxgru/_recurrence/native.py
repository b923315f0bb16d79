"""The loops of scan.py as calls of the compiled loops, for CPUs.

Arguments are the same, and results agree up to rounding. The library itself checks only sizes.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgru._recurrence.layout import chunk_steps, over_chunks
from jaxgru._recurrence.linear import Kept, Tangents, point
from jaxgru._recurrence.scan import Coefficients, Flags, Operands, states_before
from jaxgru._recurrence.step import Gates, Plan, Step, Weights

Array = jax.Array

# Multiplications of a call that takes about a millisecond on one core, and of the fixed cost of a
# step. Handing a program to another thread takes up to 40 microseconds.
_LONG = 2**25
_STEP = 2**11
# XLA runs a program in the thread that calls it if it estimates fewer operations.
_COUNTED = 1024


def forward(plan: Plan, operands: Operands) -> tuple[Array, Any]:
    """Return the last state, and the states after each step or the steps, see ``scan.forward``."""
    weights, xs, h, reset_to, flags, factors = operands
    steps = (xs.shape[0], *h.shape)
    xs = _as_it_lies(plan, xs)
    sequence = (*xs.shape[:2], h.shape[1])
    last, ys, z, r, n, inside_reset = _call(
        "jaxgru_forward",
        [xs, *weights, h, reset_to, factors, *flags],
        [h.shape, None if plan.last_only else sequence, *[steps if plan.gates else None] * 4],
        h.dtype,
        _work(steps, xs.shape[2] + h.shape[1]),
        reset_after=plan.reset_after,
        reverse=plan.reverse,
        batch_major=plan.batch_major,
    )
    if not plan.last_only:
        ys = _as_it_lies(plan, ys)
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
) -> tuple[Array, Array]:
    """Return the last and all of a linear recurrence, see ``scan.linear``."""
    state, sequence = _call(
        "jaxgru_linear",
        [*coefficients, transposed_kernel, forcing, dh, factors, *flags],
        [dh.shape, forcing.shape],
        dh.dtype,
        _work(forcing.shape, dh.shape[1]),
        reverse=reverse,
    )
    return state, sequence


def pullback(
    plan: Plan,
    groups: int,
    kept: Kept,
    of_last: Array | None,
    of_ys: Array | None,
    wanted: Tangents,
) -> Tangents:
    """Return the requested cotangents, see ``linear.pullback``."""
    if kept.steps is not None:
        return _pullback(plan, groups, kept, of_last, of_ys, wanted)
    operands = kept.operands
    with_gates = plan._replace(gates=True, last_only=False)

    def chunk(carry: Any, at: Any) -> Any:
        cotangent, sums = carry
        xs, before, flags, of_ys = at
        h = before[-1 if plan.reverse else 0]
        here = operands._replace(xs=xs, h=h, flags=flags)
        _, steps = forward(with_gates, here)
        again = Kept(here, steps.gates.h, steps)
        moved = _pullback(plan, groups, again, cotangent, of_ys, wanted._replace(h=h))
        added = (moved.weights, moved.reset_to)
        return (moved.h, jax.tree.map(jnp.add, sums, added)), (moved.xs, moved.forcing)

    h = operands.h
    zeros = jax.tree.map(jnp.zeros_like, point(operands, groups, wanted))
    sums = (zeros.weights, zeros.reset_to)
    before = states_before(kept.ys, h, reverse=plan.reverse)
    (of_h, (weights, reset_to)), (of_xs, forcing) = over_chunks(
        chunk,
        (jnp.zeros_like(h) if of_last is None else of_last, sums),
        (operands.xs, before, operands.flags, of_ys),
        chunk_steps(kept.ys.shape[0], h.shape),
        reverse=not plan.reverse,
    )
    return Tangents(weights, of_xs, None if wanted.h is None else of_h, reset_to, forcing)


def _pullback(
    plan: Plan,
    groups: int,
    kept: Kept,
    of_last: Array | None,
    of_ys: Array | None,
    wanted: Tangents,
) -> Tangents:
    (weights, xs, h, reset_to, flags, factors), ys, steps = kept
    assert steps is not None
    gates, named, shape = steps.gates, wanted.weights, ys.shape
    xs, ys, of_ys = (_as_it_lies(plan, sequence) for sequence in (xs, ys, of_ys))
    shapes = [(max(groups, 1), *w.shape) for w in weights[:2]]
    shapes += [(max(groups, 1), width) for width in (3 * h.shape[1], h.shape[1])]
    # The kernels come together.
    needed = [bool(jax.tree.leaves(named))] * 2 + [bias is not None for bias in named[2:]]
    results = [
        *((shape, needs) for shape, needs in zip(shapes, needed, strict=True)),
        (xs.shape, wanted.xs is not None),
        (h.shape, wanted.h is not None),
        (h.shape, wanted.reset_to is not None),
        (shape, wanted.forcing is not None),
    ]
    found = _call(
        "jaxgru_pullback",
        [
            *(xs, *weights[:2], h, reset_to, factors, *flags, ys),
            *(gates.update, gates.reset, gates.candidate, steps.inside_reset, of_last, of_ys),
        ],
        [shape if needs else None for shape, needs in results],
        h.dtype,
        2 * _work(shape, xs.shape[2] + h.shape[1]),
        groups=np.int64(max(groups, 1)),
        reset_after=plan.reset_after,
        reverse=plan.reverse,
        batch_major=plan.batch_major,
    )
    if wanted.xs is not None:
        found[4] = _as_it_lies(plan, found[4])
    if not groups:
        found[:4] = [x.reshape(x.shape[1:]) if x.size else x for x in found[:4]]
    of_weights = Weights._make(map(_if_wanted, found[:4], named))
    return Tangents(of_weights, *map(_if_wanted, found[4:], wanted[1:]))


def _as_it_lies(plan: Plan, sequence: Any) -> Any:
    """Return a sequence ``(T, B, N)`` as ``(B, T, N)``, or back, if it lies so in memory.

    XLA removes a transpose and its inverse: nothing is moved.
    """
    return sequence if sequence is None or not plan.batch_major else sequence.swapaxes(0, 1)


def _if_wanted(found: Any, wanted: Any) -> Any:
    return None if wanted is None else found


def _call(
    name: str,
    operands: list[Array | None],
    results: list[tuple[int, ...] | None],
    dtype: Any,
    work: int,
    **attributes: Any,
) -> list[Array]:
    """Call a handler of some number of multiplications; missing arrays are passed empty."""
    struct: Any = jax.ShapeDtypeStruct
    types = [struct(shape or (0,), dtype) for shape in results]
    absent = jnp.zeros(0, dtype)
    given = [absent if operand is None else operand for operand in operands]
    if work >= _LONG:
        given.append(_estimated(next(operand for operand in given if operand.size)))
    return list(jax.ffi.ffi_call(name, types)(*given, **attributes))


def _work(steps: tuple[int, ...], depth: int) -> int:
    """Return the multiplications of all steps ``(T, B, H)`` with kernels ``(depth, 3H)``."""
    return steps[0] * _STEP + 3 * depth * math.prod(steps)


def _estimated(operand: Array) -> Array:
    """Return numbers for which XLA estimates enough work to run a program asynchronously.

    It counts nothing for a call of a handler, and has no option for one. The handler ignores them;
    as they are its operand and depend on another, no optimization takes them away.
    """
    first = lax.slice(operand, (0,) * operand.ndim, (1,) * operand.ndim).reshape(1)
    return first * jnp.arange(_COUNTED, dtype=operand.dtype)
