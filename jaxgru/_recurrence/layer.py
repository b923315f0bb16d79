"""The states of one layer over time, and their derivative rule.

The tangent of a GRU's states is a linear recurrence (linear.py), driven by the tangents of the
inputs and the weights. It is a linear primitive of JAX, whose transpose is the whole pullback
(tangent.py). The rule is a ``jax.custom_jvp``, so forward mode, reverse mode and derivatives of any
order follow from it.
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
from jaxgru._recurrence.linear import Kept, Tangents, all_steps, any_valid, entering
from jaxgru._recurrence.scan import Flags, Operands
from jaxgru._recurrence.step import (
    Gates,
    Plan,
    Step,
    Weights,
    fold,
    gates_suffice,
    plan_of,
    with_spare_units,
)
from jaxgru._recurrence.tangent import tangent

__all__ = ["Gates", "Implementation", "Precision", "Remat", "choose", "states"]

Array = jax.Array

# What is saved for the backward pass. None: the states, and the gates where that is faster
# (layout.py). "states": only the states. An integer K: the state of every K-th step.
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
    batch_major: bool = False,
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
        valid: booleans ``(T, B)``; where False, the state stays bit-for-bit identical.
        resets: booleans ``(T, B)``; where True, the state before the step is ``reset_to``.
        reset_to: the state after a reset, ``(B, H)``.
        factors: recurrent dropout: multiply the state in its products with the recurrent kernel,
            ``(B, H)``.
        reverse: run from the last step to the first.
        batch_major: xs and ys lie in memory as ``(B, T, ...)``; changes the speed only.
        precision: the precision of the matrix products.
        remat: what is saved for the backward pass, see ``Remat``.
        last_only: return None instead of the states after each step.
        implementation: the implementation of the loops, see ``Implementation``.

    Returns:
        ``(B, H)`` and ``(T, B, H)``.

    Raises:
        ValueError: implementation is "native" and not supported.
    """
    (time, _, inputs), units = xs.shape, h.shape[-1]
    weights, flags = fold(params), Flags(valid, resets)
    implementation = choose(implementation, params, precision, h.dtype)
    if time == 0:
        return h, None if last_only else jnp.zeros((0, *h.shape), h.dtype)
    if resets is None:
        reset_to = None
    native = implementation != "scan"
    spare = 0 if native else padded_units(h.shape) - units
    plan = plan_of(
        params,
        precision,
        implementation=implementation,
        reverse=reverse,
        batch_major=batch_major,
        last_only=last_only,
        keep=remat is None and gates_suffice(params) and keeps_gates(inputs, units, native=native),
        spare=spare,
    )
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
    """Return the last state and the requested values of each step, see ``scan.forward``."""
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

    valid_steps = None if plan.gates else any_valid(flags)
    options: Any = {"reverse": plan.reverse, "idle": idle, "counts": valid_steps}
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
    their gates, or only the states after each step.
    """
    kept, ys = (steps, steps.gates.h) if isinstance(steps, Step) else (None, steps)
    given = Tangents(*tangents[:4])  # of all but the flags and the factors
    dlast, dys = tangent(plan, Kept(operands, ys, kept), given)
    if plan.gates:
        return (last, kept), (dlast, _gates_tangents(plan, operands, tangents, kept, dys))
    return ((last, None), (dlast, None)) if plan.last_only else ((last, ys), (dlast, dys))


def _gates_tangents(plan: Plan, operands: Operands, tangents: Any, kept: Any, dys: Array) -> Step:
    """Return the tangents of all steps with their gates, from those of the states."""
    weights, xs, h, reset_to, flags, factors = operands
    dweights, dxs, dh, dreset_to, *_ = tangents

    def gates_of(weights: Weights, xs: Array, hs: Array) -> Step:
        steps = all_steps(plan, weights, xs, hs, factors)
        return steps._replace(preactivations=None)

    hs = entering(kept.gates.h, h, plan.reverse, flags, reset_to)
    dh = jnp.zeros_like(h) if dh is None else dh
    dhs = entering(dys, dh, plan.reverse, flags, dreset_to)
    dweights, dxs = (_instantiated(*pair) for pair in ((weights, dweights), (xs, dxs)))
    _, dkept = jax.jvp(gates_of, (weights, xs, hs), (dweights, dxs, dhs))
    moved: Step = dkept._replace(gates=dkept.gates._replace(h=dys))
    return moved


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
