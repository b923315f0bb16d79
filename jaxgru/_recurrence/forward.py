"""The forward loop as a primitive of JAX, used where the native implementation is available.

Its operands are the leaves of ``scan.Operands``, its results those of ``scan.forward``. layer.py
has its derivative.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax.interpreters import batching

from jaxgru._recurrence import native, scan
from jaxgru._recurrence.implementation import MAPPED_WEIGHTS, unless_native
from jaxgru._recurrence.primitive import fold_rows, loop_primitive
from jaxgru._recurrence.scan import Operands
from jaxgru._recurrence.step import Gates, Plan, Step

Array = jax.Array


def forward(plan: Plan, operands: Operands) -> tuple[Array, Any]:
    """Return the last state and the requested values of each step, see ``scan.forward``."""
    leaves, tree = jax.tree.flatten(operands)
    results = forward_p.bind(*leaves, tree=tree, plan=plan, implementation=plan.implementation)
    last, steps = unflatten_results(plan, results)
    return last, steps


def unflatten_results(plan: Plan, results: Sequence[Any]) -> Any:
    """Return the results of the primitive in the structure of ``scan.forward``."""
    return jax.tree.unflatten(jax.tree.structure(_like(plan, 0, 0)), results)


def _like(plan: Plan, last: Any, sequence: Any) -> tuple[Any, Any]:
    """Return the structure of the results with these leaves."""
    if plan.gates:
        return last, Step(Gates(*[sequence] * 4), sequence, None)
    return last, None if plan.last_only else sequence


def _run_forward(loops: Any, *leaves: Any, tree: Any, plan: Plan) -> list[Array]:
    """Run a loop of scan.py or native.py."""
    return jax.tree.leaves(loops.forward(plan, jax.tree.unflatten(tree, leaves)))


def _abstract(*leaves: Any, tree: Any, plan: Plan, **_: Any) -> list[Any]:
    operands = jax.tree.unflatten(tree, leaves)
    h, time = operands.h, operands.xs.shape[0]
    return jax.tree.leaves(_like(plan, h, h.update(shape=(time, *h.shape))))


forward_p = loop_primitive(
    "gru_forward",
    functools.partial(_run_forward, scan),
    functools.partial(_run_forward, native),
    _abstract,
)


def _batch(
    operands: Sequence[Array], axes: Sequence[int | None], **static: Any
) -> tuple[list[Array], list[int]]:
    tree, plan = static["tree"], static["plan"]
    if jax.tree.leaves(jax.tree.unflatten(tree, axes).weights):
        # Each entry has its own recurrent kernel, so the entries are not rows of one product.
        unless_native(static["implementation"], MAPPED_WEIGHTS)
        run = functools.partial(_run_forward, scan, tree=tree, plan=plan)
        results = jax.vmap(run, in_axes=tuple(axes))(*operands)
        return results, [0] * len(results)
    weights, *others = jax.tree.unflatten(tree, operands)
    rows: list[int | None] = [None] * len(jax.tree.leaves(weights))
    for part, axis in zip(others, (1, 0, 0, 1, 0), strict=True):
        rows += [axis] * len(jax.tree.leaves(part))
    result_rows = jax.tree.leaves(_like(plan, 0, 1))
    return fold_rows(functools.partial(forward_p.bind, **static), operands, axes, rows, result_rows)


batching.primitive_batchers[forward_p] = _batch
