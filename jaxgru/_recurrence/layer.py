"""The states of one layer over time, and their derivative rule.

The tangent of a GRU's states is a linear recurrence (linear.py), driven by the tangents of the
inputs and the weights. Its coefficients are computed from the states, for all steps at once
(tangent.py), so the backward pass needs only the states. Its loop has one matrix product and no
transcendental function. The gradients of the weights are large products outside the loop. The rule
is a ``jax.custom_jvp``, so forward mode, reverse mode and derivatives of any order follow from it.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.interpreters import ad

from jaxgru._params import GRUParams
from jaxgru._recurrence import forward, scan
from jaxgru._recurrence.implementation import Implementation, choose
from jaxgru._recurrence.layout import (
    Precision,
    chunk_steps,
    keeps_gates,
    over_chunks,
    padded,
    padded_units,
)
from jaxgru._recurrence.linear import linear
from jaxgru._recurrence.scan import Flags, Operands, states_before, where_valid
from jaxgru._recurrence.step import (
    Gates,
    Plan,
    Step,
    Weights,
    along,
    fold,
    gates_suffice,
    plan_of,
    project,
    step,
    with_spare_units,
)
from jaxgru._recurrence.tangent import forcing, linearise

__all__ = ["Gates", "Implementation", "Precision", "Remat", "choose", "states"]

Array = jax.Array

# What is kept for the backward pass. None: the states, and the gates where that is faster
# (layout.py). "states": the states alone. An integer K: the state of every K-th step.
Remat = int | Literal["states"] | None


def states(
    params: GRUParams,
    xs: Array,
    h: Array,
    *,
    valid: Array | None = None,
    resets: Array | None = None,
    reset_to: Array | None = None,
    factors: Array | None = None,
    reverse: bool = False,
    precision: Precision = None,
    remat: Remat = None,
    last_only: bool = False,
    implementation: Implementation = "auto",
) -> tuple[Array, Array | None]:
    """Return the state after the last step, and the states after each step.

    Args:
        params: the weights, I inputs and H units, in the type of the state.
        xs: the inputs ``(T, B, I)``.
        h: the state before the first step, ``(B, H)``.
        valid: booleans ``(T, B)``; where False, the state is held, to the bit.
        resets: booleans ``(T, B)``; where True, the state before the step is ``reset_to``.
        reset_to: the state after a reset, ``(B, H)``.
        factors: recurrent dropout: multiply the state in its products with the recurrent kernel,
            ``(B, H)``.
        reverse: go from the last step to the first.
        precision: the precision of the matrix products.
        remat: what is kept for the backward pass, see ``Remat``.
        last_only: return None in place of the states after each step.
        implementation: what runs the loops, see ``Implementation``.

    Returns:
        ``(B, H)`` and ``(T, B, H)``.

    Raises:
        ValueError: implementation is "native", which cannot serve.
    """
    (time, _, inputs), units = xs.shape, h.shape[-1]
    weights, flags = fold(params), Flags(valid, resets)
    implementation = choose(implementation, params, precision, h.dtype)
    if time == 0:
        return h, None if last_only else jnp.zeros((0, *h.shape), h.dtype)
    if resets is None:
        reset_to = None
    native = implementation != "scan"
    plan = plan_of(
        params,
        precision,
        implementation=implementation,
        reverse=reverse,
        last_only=last_only,
        keep=remat is None and gates_suffice(params) and keeps_gates(inputs, units, native=native),
    )
    spare = 0 if native else padded_units(h.shape) - units
    if spare:
        weights = with_spare_units(weights, units, spare)
        h, reset_to, factors = (padded(array, units, spare) for array in (h, reset_to, factors))

    operands = Operands(weights, xs, h, reset_to, flags, factors)
    if not isinstance(remat, int):
        h, ys = run_layer(plan, operands)
    else:
        if not isinstance(time, int):
            xs, flags = _in_whole_segments(xs, flags, remat)

        # Only the state before each segment is kept; the backward pass recomputes the rest.
        @functools.partial(jax.checkpoint, prevent_cse=False)
        def segment(h: Array, at: tuple[Array, Flags]) -> tuple[Array, Array | None]:
            xs, flags = at
            return run_layer(plan, operands._replace(xs=xs, h=h, flags=flags))

        h, ys = over_chunks(segment, h, (xs, flags), remat, reverse=reverse)
    # Of appended steps and units.
    return h[..., :units], None if ys is None else ys[:time, :, :units]


def _in_whole_segments(xs: Array, flags: Flags, steps: int) -> tuple[Array, Flags]:
    """Append held steps, so that a symbolic number of steps is a multiple of ``steps``."""
    time, rows, _ = xs.shape
    spare = (time + steps - 1) // steps * steps - time

    def appended(array: Array) -> Array:
        return jnp.concatenate([array, jnp.zeros((spare, *array.shape[1:]), array.dtype)])

    valid = jnp.ones((time, rows), bool) if flags.valid is None else flags.valid
    return appended(xs), jax.tree.map(appended, flags._replace(valid=valid))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def run_layer(plan: Plan, operands: Operands) -> tuple[Array, Any]:
    """Return the state after the last step and what is asked of each, see ``scan.forward``."""
    if plan.implementation != "scan":
        return forward.forward(plan, operands)
    xs, h, flags = operands.xs, operands.h, operands.flags
    time = xs.shape[0]
    steps = chunk_steps(time, h.shape)
    if steps == time:
        return scan.forward(plan, operands)

    def chunk(h: Array, at: tuple[Array, Flags]) -> tuple[Array, Any]:
        xs, flags = at
        return scan.forward(plan, operands._replace(xs=xs, h=h, flags=flags))

    def idle(h: Array, at: tuple[Array, Flags]) -> tuple[Array, Array | None]:
        return h, None if plan.last_only else jnp.broadcast_to(h, (at[0].shape[0], *h.shape))

    counts = None if plan.gates else _counts(flags)
    options: Any = {"reverse": plan.reverse, "idle": idle, "counts": counts}
    return over_chunks(chunk, h, (xs, flags), steps, **options)


def _run_layer_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    (operands,), (tangents,) = primals, _without_zeros(tangents)
    with_gates = plan.gates or plan.keep
    results = run_layer(plan._replace(gates=with_gates, last_only=False), operands)
    return _with_tangents(plan, operands, tangents, *results)


def _forward_jvp(primals: Any, tangents: Any, *, tree: Any, plan: Plan, **static: Any) -> Any:
    """Return the results of ``forward_p`` and their tangents.

    The primitive is differentiated itself where partial evaluation has dropped the custom rule, as
    in second derivatives with ``jax.checkpoint``.
    """
    results = forward.forward_p.bind(*primals, tree=tree, plan=plan, **static)
    tangents = [None if type(tangent) is ad.Zero else tangent for tangent in tangents]
    operands, tangents = (jax.tree.unflatten(tree, leaves) for leaves in (primals, tangents))
    last, steps = forward.unflatten_results(plan, results)
    if plan.last_only:
        _, steps = run_layer(plan._replace(last_only=False), operands)
    _, moved = _with_tangents(plan, operands, tangents, last, steps)
    return results, jax.tree.leaves(moved)


run_layer.defjvp(_run_layer_jvp, symbolic_zeros=True)
ad.primitive_jvps[forward.forward_p] = _forward_jvp


def _with_tangents(
    plan: Plan, operands: Operands, tangents: Any, last: Array, steps: Array | Step
) -> tuple[Any, Any]:
    """Return the results of ``run_layer`` and their tangents.

    ``tangents`` has the structure of the operands, with None for zero; ``steps`` are all steps with
    their gates, or the states after each alone.
    """
    kept, ys = (steps, steps.gates.h) if isinstance(steps, Step) else (None, steps)
    dlast, dys = _tangents(plan, operands, tangents, ys, kept)
    if plan.gates:
        return (last, kept), (dlast, _gates_tangents(plan, operands, tangents, kept, dys))
    return ((last, None), (dlast, None)) if plan.last_only else ((last, ys), (dlast, dys))


def _gates_tangents(plan: Plan, operands: Operands, tangents: Any, kept: Any, dys: Array) -> Step:
    """Return the tangents of all steps with their gates, from those of the states."""
    weights, xs, h, reset_to, flags, factors = operands
    dweights, dxs, dh, dreset_to, *_ = tangents

    def gates_of(weights: Weights, xs: Array, hs: Array) -> Step:
        steps = _all_steps(plan, weights, xs, hs, factors)
        return steps._replace(preactivations=None)

    hs = _entering(kept.gates.h, h, plan.reverse, flags, reset_to)
    dh = jnp.zeros_like(h) if dh is None else dh
    dhs = _entering(dys, dh, plan.reverse, flags, dreset_to)
    dweights, dxs = (_instantiated(*pair) for pair in ((weights, dweights), (xs, dxs)))
    _, dkept = jax.jvp(gates_of, (weights, xs, hs), (dweights, dxs, dhs))
    moved: Step = dkept._replace(gates=dkept.gates._replace(h=dys))
    return moved


def _tangents(
    plan: Plan, operands: Operands, tangents: Any, ys: Any, kept: Step | None
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
            steps = _all_steps(plan, weights, xs, hs, factors)
        coefficients, d = linearise(plan, flags, factors, steps, hs)
        moved = forcing(
            plan,
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
            plan.precision,
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


def _all_steps(plan: Plan, weights: Weights, xs: Array, hs: Array, factors: Array | None) -> Step:
    return step(plan, weights, project(plan, weights, xs), hs, factors)


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
