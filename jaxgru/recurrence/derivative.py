"""One layer over time, with the rule of its derivative.

The derivative of a GRU's states is itself a recurrence, and a linear one (scan.py), driven by
the tangents of inputs and weights. Its coefficients follow from the states alone, for all steps
at once (tangent.py), so nothing else need be kept for the backward pass, whose loop then holds
one product and no transcendental; the gradients of the weights are large products outside it.
Being a ``jax.custom_jvp``, the one rule serves forward mode, reverse mode, and both of them again
on top of it.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxgru.recurrence.layout import chunk_steps, over_chunks, projects_in_loop, unroll_of
from jaxgru.recurrence.scan import gru_loop, linear_loop
from jaxgru.recurrence.step import Controls, Step, Variant, Weights, project, step
from jaxgru.recurrence.tangent import forcing, linearise

Array = jax.Array

# What is asked for beside the last state: nothing, the states, or all steps (Step).
Want = Literal["last", "states", "steps"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def run_layer(
    variant: Variant,
    reverse: bool,
    want: Want,
    keep: bool,
    weights: Weights,
    controls: Controls,
    xs: Array,
    h: Array,
    reset_to: Array | None,
) -> tuple[Array, Any]:
    """Return the state after the last step, ``(B, H)``, and what is wanted beside it.

    From inputs ``(T, B, I)`` and the state before them. ``keep`` has the derivative start from the
    gates, rather than from the states alone; ``reset_to`` is what resets return to.
    """

    def emit(steps: Step) -> Any:
        if want == "last":
            return None
        return steps.gates.h if want == "states" else _kept(variant, steps)

    def chunk(h: Array, inputs: tuple[Array, Controls]) -> tuple[Array, Any]:
        xs, at = inputs
        at = at._replace(recurrent_dropout=controls.recurrent_dropout)
        projection: Any = functools.partial(project, weights, precision=variant.precision)
        if projects_in_loop(xs.shape[-1], h.shape):
            sequence, of_step = xs, projection
        else:
            sequence, of_step = projection(xs), lambda projected: projected
        return gru_loop(
            variant,
            weights,
            at,
            sequence,
            of_step,
            h,
            reset_to,
            emit,
            reverse=reverse,
            unroll=unroll_of(len(xs), h.shape, holds=controls.valid is not None),
        )

    def idle(h: Array, inputs: tuple[Array, Controls]) -> tuple[Array, Any]:
        return h, None if want == "last" else jnp.broadcast_to(h, (len(inputs[0]), *h.shape))

    return over_chunks(
        chunk,
        h,
        (xs, controls.by_step()),
        chunk_steps(len(xs), h.shape),
        reverse=reverse,
        idle=idle,
        counts=None if want == "steps" else _counts(controls),
    )


def _run_layer_jvp(
    variant: Variant,
    reverse: bool,
    want: Want,
    keep: bool,
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
) -> tuple[tuple[Array, Any], tuple[Array, Any]]:
    weights, controls, xs, h, reset_to = primals
    dweights, _, dxs, dh, dreset_to = jax.tree.map(
        lambda t: None if isinstance(t, SymbolicZero) else t,
        tangents,
        is_leaf=lambda t: isinstance(t, SymbolicZero),
    )
    dh = jnp.zeros_like(h) if dh is None else dh
    last, kept = run_layer(variant, reverse, "steps" if keep else "states", keep, *primals)
    ys = kept.gates.h if keep else kept
    # Laid out in memory once, not once for each chunk.
    transposed_kernel = weights.recurrent_kernel.T

    # The checkpoint leaves the coefficients to the backward pass, one chunk of them at a time.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def chunk(
        carry: tuple[Array, Array], inputs: tuple[Any, ...]
    ) -> tuple[tuple[Array, Array], Array]:
        h, dh = carry
        xs, ys, dxs, at, kept = inputs
        at = at._replace(recurrent_dropout=controls.recurrent_dropout)
        hs = _before(ys, h, reverse, at.resets, reset_to)
        steps = _steps(variant, weights, at, xs, hs) if kept is None else kept
        coefficients, to_candidate = linearise(variant, at, steps, hs)
        moved = forcing(
            variant,
            weights,
            at,
            coefficients,
            to_candidate,
            transposed_kernel,
            xs,
            hs,
            dweights,
            dxs,
            dreset_to,
        )
        dh, dys = linear_loop(
            coefficients, at, transposed_kernel, moved, dh, variant.precision, reverse=reverse
        )
        return (ys[0 if reverse else -1], dh), dys

    def idle(carry: tuple[Array, Array], inputs: Any) -> tuple[tuple[Array, Array], Array]:
        _, dh = carry
        return carry, jnp.broadcast_to(dh, (len(inputs[0]), *dh.shape))

    (_, dlast), dys = over_chunks(
        chunk,
        (h, dh),
        (xs, ys, dxs, controls.by_step(), kept if keep else None),
        chunk_steps(len(xs), h.shape),
        reverse=reverse,
        idle=idle,
        counts=_counts(controls),
    )
    if want == "last":
        return (last, None), (dlast, None)
    if want == "states":
        return (last, ys), (dlast, dys)

    # The gates of every step, asked for by the rule itself: this is for the second derivative.
    def gates_of(weights: Weights, xs: Array, hs: Array) -> Step:
        return _kept(variant, _steps(variant, weights, controls, xs, hs))

    hs = _before(ys, h, reverse, controls.resets, reset_to)
    dhs = _before(dys, dh, reverse, controls.resets, dreset_to)
    zeros = jax.tree.map(jnp.zeros_like, (weights, xs))
    dweights, dxs = jax.tree.map(
        lambda zero, t: zero if t is None else t,
        zeros,
        (dweights, dxs),
        is_leaf=lambda leaf: leaf is None,
    )
    _, dkept = jax.jvp(gates_of, (weights, xs, hs), (dweights, dxs, dhs))
    dkept = dkept._replace(gates=dkept.gates._replace(h=dys))
    return (last, kept), (dlast, dkept)


run_layer.defjvp(_run_layer_jvp, symbolic_zeros=True)


def _counts(controls: Controls) -> Array | None:
    """Return flags ``(T,)``, False at the steps at which every state is held."""
    return None if controls.valid is None else controls.valid.any(axis=1)


def _steps(variant: Variant, weights: Weights, controls: Controls, xs: Array, hs: Array) -> Step:
    """Return all steps at once, given the states before them."""
    projected = project(weights, xs, variant.precision)
    return step(variant, weights, projected, hs, controls.valid, controls.recurrent_dropout)


def _kept(variant: Variant, steps: Step) -> Step:
    """Return of a step what cannot be told from the states and inputs without a product."""
    inside = steps.inside_reset if variant.reset_after else None
    return Step(steps.gates, inside, preactivations=None)


def _before(
    ys: Array, h: Array, reverse: bool, resets: Array | None, reset_to: Array | None
) -> Array:
    """Return the states before each step from those after it; their tangents likewise."""
    hs = jnp.concatenate([ys[1:], h[None]] if reverse else [h[None], ys[:-1]])
    if resets is None:
        return hs
    to = jnp.zeros_like(hs) if reset_to is None else jnp.broadcast_to(reset_to, hs.shape)
    return jnp.where(resets[..., None], to, hs)
