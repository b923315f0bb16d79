"""The tangent of a layer's states and its transpose, the pullback, a chunk of time after the other.

With h_t the state after step t, M_t its derivative by the state before it, and e_t what the other
tangents add::

    dh_t = M_t dh_{t-1} + e_t                  tangent
    l_{t-1} = cotangent_{t-1} + M_t' l_t       pullback

The coefficients of M and e are computed for all steps of a chunk at once (coefficients.py), so the
loops have one product a step and no transcendental function. The gradients of the weights are large
products outside the loop.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgru._recurrence.coefficients import forcing, linearise
from jaxgru._recurrence.layout import chunk_steps, over_chunks
from jaxgru._recurrence.scan import (
    Flags,
    Operands,
    map_step,
    states_before,
    transposed,
    where_valid,
)
from jaxgru._recurrence.step import Plan, Step, Weights, along, project, step

Array = jax.Array
Loop = Callable[..., tuple[Array, Array]]  # scan.linear, or one with its arguments


class Kept(NamedTuple):
    """The values of a run that are kept for its derivative."""

    operands: Operands
    ys: Array  # (T, B, H), the states after each step
    steps: Step | None  # all steps; None: they are recomputed


class Tangents(NamedTuple):
    """The tangents of everything that the states depend on, or the cotangents; None for zero.

    With G groups of rows, each group has its own weights, whose arrays have a leading axis G.
    Without groups, they have no such axis.
    """

    weights: Weights
    xs: Array | None  # (T, B, I)
    h: Array | None  # (B, H)
    reset_to: Array | None  # (B, H)
    forcing: Array | None = None  # (T, B, H), of the state after each step


def tangent(
    loop: Loop, plan: Plan, groups: int, kept: Kept, tangents: Tangents
) -> tuple[Array, Array]:
    """Return the tangents of the last state ``(B, H)`` and of all states ``(T, B, H)``."""
    operands = kept.operands
    # Transposed in memory once instead of once per chunk.
    transposed_kernel = operands.weights.recurrent_kernel.T

    def chunk(dh: Array, at: Any) -> tuple[Array, Array]:
        part, dxs, added = at
        here = _Chunk(plan, operands, transposed_kernel, part)
        driven = here.forcing(groups, tangents._replace(xs=dxs))
        if added is not None:
            driven = driven + added
        return here.run(loop, driven, dh)

    def idle(dh: Array, at: Any) -> tuple[Array, Array]:
        return dh, jnp.broadcast_to(dh, (at[0].before.shape[0], *dh.shape))

    return over_chunks(
        chunk,
        jnp.zeros_like(operands.h) if tangents.h is None else tangents.h,
        (_parts(plan, kept), tangents.xs, tangents.forcing),
        chunk_steps(kept.ys.shape[0], operands.h.shape),
        reverse=plan.reverse,
        idle=idle,
        counts=None if tangents.forcing is not None else any_valid(operands.flags),
    )


def pullback(
    plan: Plan,
    groups: int,
    kept: Kept,
    of_last: Array | None,
    of_ys: Array | None,
    wanted: Tangents,
) -> Tangents:
    """Return the requested cotangents, from those of the last state and of all states.

    ``wanted`` has anything but None where a cotangent is.
    """
    operands = kept.operands
    transposed_kernel = operands.weights.recurrent_kernel.T
    where = point(operands, groups, wanted)

    def chunk(carry: Any, at: Any) -> Any:
        cotangent, sums = carry
        part, of_ys = at
        if of_ys is None:
            of_ys = jnp.zeros_like(part.before)
        here = _Chunk(plan, operands, transposed_kernel, part)
        cotangent, of_steps = here.run(transposed, of_ys, cotangent)
        here_at = where._replace(xs=None if where.xs is None else part.xs)
        _, transpose = jax.vjp(functools.partial(here.forcing, groups), here_at)
        (moved,) = transpose(of_steps)
        sums = jax.tree.map(jnp.add, sums, moved._replace(xs=None))
        return (cotangent, sums), (moved.xs, None if wanted.forcing is None else of_steps)

    def idle(carry: Any, at: Any) -> Any:
        cotangent, sums = carry
        part, of_ys = at
        if of_ys is not None:
            cotangent = cotangent + of_ys.sum(axis=0)
        return (cotangent, sums), (None if where.xs is None else jnp.zeros_like(part.xs), None)

    start = jnp.zeros_like(operands.h) if of_last is None else of_last
    sums = jax.tree.map(jnp.zeros_like, where._replace(xs=None))
    (of_h, sums), (of_xs, of_steps) = over_chunks(
        chunk,
        (start, sums),
        (_parts(plan, kept), of_ys),
        chunk_steps(kept.ys.shape[0], operands.h.shape),
        reverse=not plan.reverse,
        idle=idle,
        counts=None if wanted.forcing is not None else any_valid(operands.flags),
    )
    of_h = None if wanted.h is None else of_h
    moved: Tangents = sums._replace(xs=of_xs, h=of_h, forcing=of_steps)
    return moved


def every_step(plan: Plan, groups: int, kept: Kept, tangents: Tangents, before: Array) -> Array:
    """Return the tangents of the states after each step, from those ``before`` each."""
    operands = kept.operands
    transposed_kernel = operands.weights.recurrent_kernel.T
    here = _Chunk(plan, operands, transposed_kernel, _parts(plan, kept))
    return here.forcing(groups, tangents) + map_step(
        here.coefficients,
        transposed_kernel,
        before,
        operands.flags,
        operands.factors,
        plan.precision,
    )


def every_step_transposed(
    plan: Plan, groups: int, kept: Kept, wanted: Tangents, of_steps: Array
) -> tuple[Tangents, Array]:
    """Return the cotangents of ``tangents`` and ``before`` from those of ``every_step``."""
    where = jax.lax.stop_gradient(point(kept.operands, groups, wanted))
    _, transpose = jax.vjp(functools.partial(every_step, plan, groups, kept), where, of_steps)
    moved: tuple[Tangents, Array] = transpose(of_steps)
    return moved


def entering(ys: Array, h: Array, reverse: bool, flags: Flags, reset_to: Array | None) -> Array:
    """Return the states before the steps, or their tangents, after resets; zero at held steps."""
    return _after_resets(states_before(ys, h, reverse=reverse), flags, reset_to)


def all_steps(plan: Plan, weights: Weights, xs: Array, hs: Array, factors: Array | None) -> Step:
    """Return all steps at once, from the states that enter them."""
    return step(plan, weights, project(plan, weights, xs), hs, factors)


def any_valid(flags: Flags) -> Array | None:
    """Return flags ``(T,)``, False at steps where every state is held."""
    return None if flags.valid is None else flags.valid.any(axis=1)


class _Part(NamedTuple):
    """The sequences of a run."""

    xs: Array
    before: Array  # the states before each step
    flags: Flags
    steps: Step | None


def _parts(plan: Plan, kept: Kept) -> _Part:
    operands = kept.operands
    before = states_before(kept.ys, operands.h, reverse=plan.reverse)
    return _Part(operands.xs, before, operands.flags, kept.steps)


class _Chunk:
    """Some steps of a run, and their coefficients."""

    def __init__(self, plan: Plan, operands: Operands, transposed_kernel: Array, part: _Part):
        weights, _, _, reset_to, _, factors = operands
        self.plan, self.weights, self.transposed_kernel = plan, weights, transposed_kernel
        self.flags, self.factors, self.xs = part.flags, factors, part.xs
        self.hs = _after_resets(part.before, part.flags, reset_to)
        steps = part.steps
        if steps is None:
            steps = all_steps(plan, weights, part.xs, self.hs, factors)
        self.coefficients, self.d = linearise(plan, part.flags, factors, steps, self.hs)

    def run(self, loop: Loop, sequence: Array, state: Array) -> tuple[Array, Array]:
        """Return the state that a loop ends with, and its sequence."""
        return loop(
            self.coefficients,
            self.transposed_kernel,
            sequence,
            state,
            self.flags,
            self.factors,
            self.plan.precision,
            reverse=self.plan.reverse,
        )

    def forcing(self, groups: int, tangents: Tangents) -> Array:
        """Return the tangent of the state after each step for fixed states before the steps."""

        def run(sequences: Any, rows: Any, dweights: Weights) -> Array:
            coefficients, d, xs, hs, flags, dxs = sequences
            factors, dreset_to = rows
            return forcing(
                self.plan,
                self.weights,
                coefficients,
                d,
                self.transposed_kernel,
                xs,
                hs,
                flags,
                factors,
                dweights,
                dxs,
                dreset_to,
            )

        sequences = (self.coefficients, self.d, self.xs, self.hs, self.flags, tangents.xs)
        rows = (self.factors, tangents.reset_to)
        if not groups:
            return run(sequences, rows, tangents.weights)

        def split(axis: int, tree: Any) -> Any:
            return jax.tree.map(
                lambda x: x.reshape(*x.shape[:axis], groups, -1, *x.shape[axis + 1 :]), tree
            )

        mapped = jax.vmap(run, in_axes=(1, 0, 0), out_axes=1)
        driven = mapped(split(1, sequences), split(0, rows), tangents.weights)
        return driven.reshape(self.hs.shape)


def _after_resets(hs: Array, flags: Flags, reset_to: Array | None) -> Array:
    if flags.resets is not None:
        to = jnp.zeros_like(hs) if reset_to is None else along(reset_to, hs)
        hs = jnp.where(flags.resets[..., None], to, hs)
    return where_valid(flags.valid, hs)


def point(operands: Operands, groups: int, wanted: Tangents) -> Tangents:
    """Return where the forcing is transposed, which is linear: tangents of the right sizes."""
    weights = operands.weights
    if groups:
        weights = jax.tree.map(lambda w: jnp.broadcast_to(w, (groups, *w.shape)), weights)
    pairs = zip(weights, wanted.weights, strict=True)
    return Tangents(
        Weights._make(None if name is None else w for w, name in pairs),
        None if wanted.xs is None else operands.xs,
        None,
        None if wanted.reset_to is None else operands.reset_to,
    )
