"""One layer over time, with its derivative rule.

The tangent of a GRU's states is a linear recurrence (linear.py), driven by the tangents of the
inputs and the weights. Its coefficients are computed from the states, for all steps at once
(tangent.py), so the backward pass needs only the states. Its loop has one matrix product and no
transcendental function. The gradients of the weights are large products outside the loop. The rule
is a ``jax.custom_jvp``, so forward mode, reverse mode and derivatives of any order follow from it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.interpreters import ad

from jaxgru._recurrence import forward, scan
from jaxgru._recurrence.implementation import Implementation
from jaxgru._recurrence.layout import chunk_steps, over_chunks
from jaxgru._recurrence.linear import linear
from jaxgru._recurrence.scan import Flags, Operands, states_before, where_valid
from jaxgru._recurrence.step import (
    Step,
    Variant,
    Weights,
    along,
    arrays_of,
    project,
    step,
    steps_of,
)
from jaxgru._recurrence.tangent import forcing, linearise

Array = jax.Array
_Results = TypeVar("_Results")


class Plan(NamedTuple):
    """How a layer is run, apart from its equations."""

    reverse: bool
    keep: bool  # the gates for the derivative, which else recomputes them from the states
    last_only: bool  # without the states after each step
    implementation: Implementation


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def run_layer(variant: Variant, plan: Plan, operands: Operands) -> tuple[Array, Array | None]:
    """Return the state after the last step ``(B, H)``, and after each ``(T, B, H)``."""
    static: Any = {"reverse": plan.reverse, "last_only": plan.last_only}
    if plan.implementation != "scan":
        return forward.forward(variant, operands, implementation=plan.implementation, **static)

    def idle(h: Array, at: tuple[Array, Flags]) -> tuple[Array, Array | None]:
        return h, None if plan.last_only else jnp.broadcast_to(h, (at[0].shape[0], *h.shape))

    run = functools.partial(scan.forward, variant, **static)
    return _over_chunks(run, operands, plan, idle=idle, counts=_counts(operands.flags))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _run_with_gates(variant: Variant, plan: Plan, operands: Operands) -> tuple[Array, Step]:
    """Return the last state, and all steps with their gates."""
    reverse = plan.reverse
    if plan.implementation != "scan":
        return forward.forward_gates(
            variant, operands, reverse=reverse, implementation=plan.implementation
        )
    run = functools.partial(scan.forward_gates, variant, reverse=reverse)
    return _over_chunks(run, operands, plan)


def _over_chunks(
    run: Callable[[Operands], tuple[Array, _Results]],
    operands: Operands,
    plan: Plan,
    **options: Any,
) -> tuple[Array, _Results]:
    """Return the last state and all results of a loop that is run on one chunk after the other."""

    def chunk(h: Array, at: tuple[Array, Flags]) -> tuple[Array, _Results]:
        xs, flags = at
        return run(operands._replace(xs=xs, h=h, flags=flags))

    xs, h = operands.xs, operands.h
    steps = chunk_steps(xs.shape[0], h.shape)
    return over_chunks(chunk, h, (xs, operands.flags), steps, reverse=plan.reverse, **options)


def _run_layer_jvp(variant: Variant, plan: Plan, primals: Any, tangents: Any) -> Any:
    (operands,), (tangents,) = primals, _without_zeros(tangents)
    ys: Array | None
    if plan.keep:
        last, kept = _run_with_gates(variant, plan, operands)
        ys = kept.gates.h
    else:
        kept = None
        last, ys = run_layer(variant, plan._replace(last_only=False), operands)
    dlast, dys = _tangents(variant, plan, operands, tangents, ys, kept)
    return ((last, None), (dlast, None)) if plan.last_only else ((last, ys), (dlast, dys))


def _run_with_gates_jvp(variant: Variant, plan: Plan, primals: Any, tangents: Any) -> Any:
    (operands,), (tangents,) = primals, _without_zeros(tangents)
    last, kept = _run_with_gates(variant, plan, operands)
    return (last, kept), _gates_tangents(variant, plan, operands, tangents, kept)


def _forward_jvp(primals: Any, tangents: Any, *, tree: Any, **static: Any) -> Any:
    """Return the results of ``forward_p`` and their tangents.

    The primitive is differentiated itself where partial evaluation has dropped the custom rule, as
    in second derivatives with ``jax.checkpoint``.
    """
    results = forward.forward_p.bind(*primals, tree=tree, **static)
    tangents = [None if type(tangent) is ad.Zero else tangent for tangent in tangents]
    operands, tangents = (jax.tree.unflatten(tree, leaves) for leaves in (primals, tangents))
    variant = static["variant"]
    plan = Plan(static["reverse"], static["gates"], static["last_only"], static["implementation"])
    if plan.keep:
        kept = steps_of(results[1:])
        dlast, dkept = _gates_tangents(variant, plan, operands, tangents, kept)
        return results, [dlast, *arrays_of(dkept)]
    if plan.last_only:
        _, ys = run_layer(variant, plan._replace(last_only=False), operands)
        dlast, _ = _tangents(variant, plan, operands, tangents, ys, None)
        return results, [dlast]
    return results, list(_tangents(variant, plan, operands, tangents, results[1], None))


def _gates_tangents(
    variant: Variant, plan: Plan, operands: Operands, tangents: Any, kept: Step
) -> tuple[Array, Step]:
    """Return the tangents of the results of ``_run_with_gates``."""
    reverse = plan.reverse
    dlast, dys = _tangents(variant, plan, operands, tangents, kept.gates.h, kept)
    weights, xs, h, reset_to, flags, factors = operands
    dweights, dxs, dh, dreset_to, *_ = tangents

    # The tangents of the gates, from those of the states before each step.
    def gates_of(weights: Weights, xs: Array, hs: Array) -> Step:
        steps = _all_steps(variant, weights, xs, hs, factors)
        return steps._replace(preactivations=None)

    hs = _entering(kept.gates.h, h, reverse, flags, reset_to)
    dhs = _entering(dys, jnp.zeros_like(h) if dh is None else dh, reverse, flags, dreset_to)
    dweights, dxs = (_instantiated(*pair) for pair in ((weights, dweights), (xs, dxs)))
    _, dkept = jax.jvp(gates_of, (weights, xs, hs), (dweights, dxs, dhs))
    return dlast, dkept._replace(gates=dkept.gates._replace(h=dys))


run_layer.defjvp(_run_layer_jvp, symbolic_zeros=True)
_run_with_gates.defjvp(_run_with_gates_jvp, symbolic_zeros=True)
ad.primitive_jvps[forward.forward_p] = _forward_jvp


def _tangents(
    variant: Variant, plan: Plan, operands: Operands, tangents: Any, ys: Any, kept: Step | None
) -> tuple[Array, Array]:
    """Return the tangents of the last state ``(B, H)`` and of all states ``(T, B, H)``.

    ``tangents`` has the structure of the operands, with None for zero. ``ys`` are the states,
    ``kept`` the steps with their gates, or None to recompute them.
    """
    reverse = plan.reverse
    weights, xs, h, reset_to, flags, factors = operands
    dweights, dxs, dh, dreset_to, *_ = tangents
    # Transposed in memory once, not once per chunk.
    transposed_kernel = weights.recurrent_kernel.T

    # With the checkpoint, the backward pass recomputes the coefficients, one chunk at a time.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def chunk(carry: tuple[Array, Array], at: tuple[Any, ...]) -> tuple[tuple[Array, Array], Array]:
        h, dh = carry
        xs, ys, dxs, flags, steps = at
        hs = _entering(ys, h, reverse, flags, reset_to)
        if steps is None:
            steps = _all_steps(variant, weights, xs, hs, factors)
        coefficients, d = linearise(variant, flags, factors, steps, hs)
        moved = forcing(
            variant,
            weights,
            coefficients,
            d,
            transposed_kernel,
            xs,
            hs,
            flags,
            factors,
            dweights,
            dxs,
            dreset_to,
        )
        dh, dys = linear(
            coefficients,
            transposed_kernel,
            moved,
            dh,
            flags,
            factors,
            variant.precision,
            reverse=reverse,
            implementation=plan.implementation,
        )
        return (ys[0 if reverse else -1], dh), dys

    def idle(carry: tuple[Array, Array], at: tuple[Any, ...]) -> tuple[tuple[Array, Array], Array]:
        _, dh = carry
        return carry, jnp.broadcast_to(dh, (at[0].shape[0], *dh.shape))

    (_, dlast), dys = over_chunks(
        chunk,
        (h, jnp.zeros_like(h) if dh is None else dh),
        (xs, ys, dxs, flags, kept),
        chunk_steps(xs.shape[0], h.shape),
        reverse=reverse,
        idle=idle,
        counts=_counts(flags),
    )
    return dlast, dys


def _entering(ys: Array, h: Array, reverse: bool, flags: Flags, reset_to: Array | None) -> Array:
    """Return the states before the steps, or their tangents, after resets; zero at held steps."""
    hs = states_before(ys, h, reverse=reverse)
    if flags.resets is not None:
        to = jnp.zeros_like(hs) if reset_to is None else along(reset_to, hs)
        hs = jnp.where(flags.resets[..., None], to, hs)
    return where_valid(flags.valid, hs)


def _all_steps(
    variant: Variant, weights: Weights, xs: Array, hs: Array, factors: Array | None
) -> Step:
    return step(variant, weights, project(variant, weights, xs), hs, factors)


def _counts(flags: Flags) -> Array | None:
    """Return flags ``(T,)``, False at steps where every state is held."""
    return None if flags.valid is None else flags.valid.any(axis=1)


def _without_zeros(tangents: Any) -> Any:
    """Replace symbolic zeros by None."""
    return jax.tree.map(lambda t: None if _is_zero(t) else t, tangents, is_leaf=_is_zero)


def _instantiated(primals: Any, tangents: Any) -> Any:
    """Replace None by arrays of zeros."""
    return jax.tree.map(
        lambda primal, t: jnp.zeros_like(primal) if t is None else t, primals, tangents
    )


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)
