"""The forward loop as a primitive of JAX, where the native implementation serves.

Its operands are the leaves of (weights, xs, h, reset_to, flags, factors); its results are the last
state, the states after each step unless ``last_only``, and with ``gates`` what the reset gate
multiplies and the three gates. Its derivative is that of derivative.py.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax.interpreters import batching

from jaxgru.recurrence import native, scan
from jaxgru.recurrence.implementation import Implementation
from jaxgru.recurrence.primitive import fold_rows, loop_primitive
from jaxgru.recurrence.scan import Flags
from jaxgru.recurrence.step import Gates, Step, Variant, Weights

Array = jax.Array


def forward(
    variant: Variant,
    weights: Weights,
    xs: Array,
    h: Array,
    reset_to: Array | None,
    flags: Flags,
    factors: Array | None,
    *,
    reverse: bool,
    last_only: bool,
    implementation: Implementation,
) -> tuple[Array, Array | None]:
    """Return the last state and the states after each step, see ``scan.forward``.

    With ``last_only``, None in place of the states.
    """
    last, *ys = _bind(
        (weights, xs, h, reset_to, flags, factors),
        variant=variant,
        reverse=reverse,
        last_only=last_only,
        gates=False,
        implementation=implementation,
    )
    return last, ys[0] if ys else None


def forward_gates(
    variant: Variant,
    weights: Weights,
    xs: Array,
    h: Array,
    reset_to: Array | None,
    flags: Flags,
    factors: Array | None,
    *,
    reverse: bool,
    implementation: Implementation,
) -> tuple[Array, Step]:
    """Return the last state and all steps with their gates, see ``scan.forward_gates``."""
    last, *step = _bind(
        (weights, xs, h, reset_to, flags, factors),
        variant=variant,
        reverse=reverse,
        last_only=False,
        gates=True,
        implementation=implementation,
    )
    return last, step_of(step)


def step_of(results: Sequence[Any]) -> Step:
    """Return the results of the primitive with gates, but for the last state, as steps."""
    ys, inside_reset, z, r, n = results
    return Step(Gates(z, r, n, ys), inside_reset, None)


def _bind(operands: Any, **static: Any) -> list[Array]:
    leaves, tree = jax.tree.flatten(operands)
    results: list[Array] = forward_p.bind(*leaves, tree=tree, **static)
    return results


def _run(
    loops: Any,
    *leaves: Any,
    tree: Any,
    variant: Variant,
    last_only: bool,
    gates: bool,
    **static: Any,
) -> list[Array]:
    """Run a loop of scan.py or native.py."""
    operands = jax.tree.unflatten(tree, leaves)
    if gates:
        last, steps = loops.forward_gates(variant, *operands, **static)
        z, r, n, ys = steps.gates
        return [last, ys, steps.inside_reset, z, r, n]
    if loops is native:
        static["last_only"] = last_only
    last, ys = loops.forward(variant, *operands, **static)
    return [last] if last_only else [last, ys]


def _abstract(*leaves: Any, tree: Any, **static: Any) -> list[Any]:
    _, xs, h, *_ = jax.tree.unflatten(tree, leaves)
    return [h, *[h.update(shape=(xs.shape[0], *h.shape))] * _sequences(**static)]


def _sequences(*, last_only: bool, gates: bool, **_: Any) -> int:
    """Return the number of results beside the last state."""
    return 5 if gates else 0 if last_only else 1


forward_p = loop_primitive(
    "gru_forward", functools.partial(_run, scan), functools.partial(_run, native), _abstract
)


def _batch(
    operands: Sequence[Array], axes: Sequence[int | None], **static: Any
) -> tuple[list[Array], list[int]]:
    tree = static["tree"]
    weights, *_ = jax.tree.unflatten(tree, axes)
    if any(axis is not None for axis in jax.tree.leaves(weights)):
        # A recurrent kernel for each: no rows of one product.
        static.pop("implementation")
        run = functools.partial(_run, scan, **static)
        results = jax.vmap(run, in_axes=tuple(axes))(*operands)
        return results, [0] * len(results)
    given = jax.tree.unflatten(tree, operands)
    rows: list[int | None] = [None] * len(jax.tree.leaves(given[0]))
    for part, axis in zip(given[1:], (1, 0, 0, 1, 0), strict=True):
        rows += [axis] * len(jax.tree.leaves(part))
    result_rows = [0, *[1] * _sequences(**static)]
    return fold_rows(functools.partial(forward_p.bind, **static), operands, axes, rows, result_rows)


batching.primitive_batchers[forward_p] = _batch
