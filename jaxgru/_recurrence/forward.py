"""The forward loop as a primitive of JAX, where the native implementation serves.

Its operands are the leaves of ``scan.Operands``. Its results are the last state, then the states
after each step unless ``last_only``, or with ``gates`` those of ``step.arrays_of``. derivative.py
has its derivative.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax.interpreters import batching

from jaxgru._recurrence import native, scan
from jaxgru._recurrence.implementation import Implementation
from jaxgru._recurrence.primitive import fold_rows, loop_primitive
from jaxgru._recurrence.scan import Operands
from jaxgru._recurrence.step import Step, Variant, arrays_of, steps_of

Array = jax.Array


def forward(
    variant: Variant,
    operands: Operands,
    *,
    reverse: bool,
    last_only: bool,
    implementation: Implementation,
) -> tuple[Array, Array | None]:
    """Return the last state and the states after each step, see ``scan.forward``."""
    last, *ys = _bind(
        operands,
        variant=variant,
        reverse=reverse,
        last_only=last_only,
        gates=False,
        implementation=implementation,
    )
    return last, ys[0] if ys else None


def forward_gates(
    variant: Variant, operands: Operands, *, reverse: bool, implementation: Implementation
) -> tuple[Array, Step]:
    """Return the last state and all steps with their gates, see ``scan.forward_gates``."""
    last, *steps = _bind(
        operands,
        variant=variant,
        reverse=reverse,
        last_only=False,
        gates=True,
        implementation=implementation,
    )
    return last, steps_of(steps)


def _bind(operands: Operands, **static: Any) -> list[Array]:
    leaves, tree = jax.tree.flatten(operands)
    results: list[Array] = forward_p.bind(*leaves, tree=tree, **static)
    return results


def _run(
    loops: Any,
    *leaves: Any,
    tree: Any,
    variant: Variant,
    reverse: bool,
    last_only: bool,
    gates: bool,
) -> list[Array]:
    """Run a loop of scan.py or native.py."""
    operands = jax.tree.unflatten(tree, leaves)
    if gates:
        last, steps = loops.forward_gates(variant, operands, reverse=reverse)
        return [last, *arrays_of(steps)]
    last, ys = loops.forward(variant, operands, reverse=reverse, last_only=last_only)
    return [last] if last_only else [last, ys]


def _abstract(*leaves: Any, tree: Any, **static: Any) -> list[Any]:
    operands = jax.tree.unflatten(tree, leaves)
    h, time = operands.h, operands.xs.shape[0]
    return [h, *[h.update(shape=(time, *h.shape))] * _sequences(**static)]


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
    if jax.tree.leaves(jax.tree.unflatten(tree, axes).weights):
        # A recurrent kernel for each entry: no rows of one product.
        static.pop("implementation")
        run = functools.partial(_run, scan, **static)
        results = jax.vmap(run, in_axes=tuple(axes))(*operands)
        return results, [0] * len(results)
    weights, *others = jax.tree.unflatten(tree, operands)
    rows: list[int | None] = [None] * len(jax.tree.leaves(weights))
    for part, axis in zip(others, (1, 0, 0, 1, 0), strict=True):
        rows += [axis] * len(jax.tree.leaves(part))
    result_rows = [0, *[1] * _sequences(**static)]
    return fold_rows(functools.partial(forward_p.bind, **static), operands, axes, rows, result_rows)


batching.primitive_batchers[forward_p] = _batch
