"""The states of one layer over time, and their derivative.

The derivative of a GRU's states is itself a recurrence, and a linear one (loops.py), driven by
the tangents of inputs and weights. Its coefficients follow from the states alone, for all steps
at once (linearise.py), so nothing else need be kept for the backward pass, whose loop then holds
one product and no transcendental; the gradients of the weights are large products outside it.
Being a ``jax.custom_jvp``, the one rule serves forward mode, reverse mode, and both of them again
on top of it.
"""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxgru.activations import get_activation
from jaxgru.linearise import forcing, linearise
from jaxgru.loops import gru_loop, linear_loop
from jaxgru.schedule import (
    chunk_steps,
    keeps_gates,
    over_chunks,
    padded_units,
    projects_in_loop,
    unroll_of,
)
from jaxgru.step import Controls, Step, Variant, Weights, project, step

Array = jax.Array

# What is kept for the backward pass: what schedule.py finds fastest, nothing but the states, or
# the states of every K-th step.
Remat = int | Literal["states"] | None


def states(
    variant: Variant,
    reverse: bool,
    remat: Remat,
    weights: Weights,
    controls: Controls,
    xs: Array,
    h0: Array,
    reset_to: Array | None = None,
) -> Array:
    """Return the states after each step, ``(T, B, H)``, of inputs ``(T, B, I)``; T at least 1.

    Resets return to ``reset_to (B, H)``, or to h0 if that is None.
    """
    _, ys = _run(variant, reverse, "states", remat, weights, controls, xs, h0, reset_to)
    assert ys is not None  # for the type checker: states were wanted
    return ys


def last_state(
    variant: Variant,
    reverse: bool,
    remat: Remat,
    weights: Weights,
    controls: Controls,
    xs: Array,
    h0: Array,
    reset_to: Array | None = None,
) -> Array:
    """Return the state after the last step, ``(B, H)``, holding no other in the forward pass."""
    return _run(variant, reverse, "last", remat, weights, controls, xs, h0, reset_to)[0]


# What is asked for beside the last state: nothing, the states, or all steps (Step).
_Want = Literal["last", "states", "steps"]


def _run(
    variant: Variant,
    reverse: bool,
    want: _Want,
    remat: Remat,
    weights: Weights,
    controls: Controls,
    xs: Array,
    h0: Array,
    reset_to: Array | None,
) -> tuple[Array, Array | None]:
    """Return the last state, and what is wanted beside it."""
    if controls.resets is None:
        reset_to = None
    elif reset_to is None:
        reset_to = h0
    units = h0.shape[-1]
    spare = padded_units(h0.shape) - units
    if spare:
        weights, controls, h0, reset_to = _with_spare_units(weights, controls, h0, reset_to, spare)
    keep = remat is None and _can_keep(variant) and keeps_gates(xs.shape[-1], units)

    def segment(h: Array, inputs: tuple[Array, Controls]) -> tuple[Array, Array | None]:
        xs, at = inputs
        at = at._replace(recurrent_dropout=controls.recurrent_dropout)
        return _layer(variant, reverse, want, keep, weights, at, xs, h, reset_to)

    every = len(xs)
    if isinstance(remat, int):
        # Of each segment only the state before it is kept; the rest is computed again.
        segment, every = jax.checkpoint(segment, prevent_cse=False), remat
    h, ys = over_chunks(segment, h0, (xs, _by_step(controls)), every, reverse=reverse)
    if spare:
        h, ys = jax.tree.map(lambda leaf: leaf[..., :units], (h, ys))
    return h, ys


def _by_step(controls: Controls) -> Controls:
    """Return the controls that differ from step to step."""
    return controls._replace(recurrent_dropout=None)


def _can_keep(variant: Variant) -> bool:
    """Return whether the derivative can start from the gates' outputs alone."""
    names = (variant.activation, variant.recurrent_activation)
    return variant.clip is None and not any(get_activation(name).needs_input for name in names)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def _layer(
    variant: Variant,
    reverse: bool,
    want: _Want,
    keep: bool,
    weights: Weights,
    controls: Controls,
    xs: Array,
    h: Array,
    reset_to: Array | None,
) -> tuple[Array, Any]:
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
            unroll=unroll_of(h.shape, holds=controls.valid is not None),
        )

    inputs = (xs, _by_step(controls))
    return over_chunks(chunk, h, inputs, chunk_steps(len(xs), h.shape), reverse=reverse)


def _layer_jvp(
    variant: Variant,
    reverse: bool,
    want: _Want,
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
    last, kept = _layer(variant, reverse, "steps" if keep else "states", keep, *primals)
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

    inputs = (xs, ys, dxs, _by_step(controls), kept if keep else None)
    steps_each = chunk_steps(len(xs), h.shape)
    (_, dlast), dys = over_chunks(chunk, (h, dh), inputs, steps_each, reverse=reverse)
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


_layer.defjvp(_layer_jvp, symbolic_zeros=True)


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


def _with_spare_units(
    weights: Weights, controls: Controls, h0: Array, reset_to: Array | None, spare: int
) -> tuple[Weights, Controls, Array, Array | None]:
    """Append units that get no input and give none: their rows and columns are zero."""
    units = h0.shape[-1]

    def pad(array: Array) -> Array:
        """Append zeros to each block of the last axis."""
        gates = array.reshape(*array.shape[:-1], array.shape[-1] // units, units)
        gates = jnp.pad(gates, [(0, 0)] * (gates.ndim - 1) + [(0, spare)])
        return gates.reshape(*array.shape[:-1], math.prod(gates.shape[-2:]))

    weights = jax.tree.map(pad, weights)
    kernel = jnp.pad(weights.recurrent_kernel, ((0, spare), (0, 0)))
    dropout = controls.recurrent_dropout
    return (
        weights._replace(recurrent_kernel=kernel),
        controls._replace(recurrent_dropout=None if dropout is None else pad(dropout)),
        pad(h0),
        None if reset_to is None else pad(reset_to),
    )
