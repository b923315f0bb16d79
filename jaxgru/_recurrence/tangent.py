"""The tangent of the states as a linear primitive of JAX, whose transpose is the pullback.

The operands of both begin with the leaves of ``Kept``, the values of a run that are kept for its
derivative. For the tangent, the leaves of ``Tangents`` follow, and the results are the tangents of
the last state and of all states. For the pullback, these are exchanged. linear.py has both in JAX.

A derivative of either is the same recurrence with another forcing, which is computed for all steps
at once. Derivatives of any order therefore use these two primitives, and no loop is differentiated
step by step.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import ad, batching

from jaxgru._recurrence import linear, native, scan
from jaxgru._recurrence.devices import varying_alike
from jaxgru._recurrence.implementation import MAPPED_WEIGHTS, unless_native
from jaxgru._recurrence.layout import keeps_axes
from jaxgru._recurrence.linear import Kept, Tangents, every_step, every_step_transposed
from jaxgru._recurrence.primitive import fold_rows, loop_primitive
from jaxgru._recurrence.scan import Operands, states_before
from jaxgru._recurrence.step import Plan, Weights

Array = jax.Array


def tangent(plan: Plan, kept: Kept, tangents: Tangents, groups: int = 0) -> tuple[Array, Array]:
    """Return the tangents of the last state ``(B, H)`` and of all states ``(T, B, H)``."""
    if not jax.tree.leaves(tangents):
        return jnp.zeros_like(kept.operands.h), jnp.zeros_like(kept.ys)
    if kept.steps is not None:  # its states are ys
        kept = kept._replace(steps=kept.steps.without_states())
    leaves, tree = jax.tree.flatten((kept, tangents))
    last, all_ = _bind(_tangent_p, leaves, tree=tree, plan=plan, groups=groups)
    return last, all_


def _pullback(
    plan: Plan,
    kept: Kept,
    of_last: Array | None,
    of_ys: Array | None,
    wanted: Tangents,
    groups: int,
) -> Tangents:
    """Return the requested cotangents, those where ``wanted`` is not None."""
    leaves, tree = jax.tree.flatten((kept, of_last, of_ys))
    structure = jax.tree.structure(wanted)
    results = _bind(_pullback_p, leaves, tree=tree, wanted=structure, plan=plan, groups=groups)
    moved: Tangents = jax.tree.unflatten(structure, results)
    return moved


def _bind(primitive: Any, leaves: Sequence[Any], *, plan: Plan, **static: Any) -> Any:
    return primitive.bind(
        *varying_alike(*leaves), plan=plan, implementation=plan.implementation, **static
    )


def _run_tangent(loop: Any, *leaves: Any, tree: Any, plan: Plan, groups: int) -> list[Array]:
    kept, tangents = jax.tree.unflatten(tree, leaves)
    return list(linear.tangent(loop, plan, groups, kept, tangents))


def _run_pullback(
    pullback: Any, *leaves: Any, tree: Any, wanted: Any, plan: Plan, groups: int
) -> list[Array]:
    kept, of_last, of_ys = jax.tree.unflatten(tree, leaves)
    return jax.tree.leaves(pullback(plan, groups, kept, of_last, of_ys, _named(wanted)))


def _tangent_results(*leaves: Any, tree: Any, **_: Any) -> list[Any]:
    kept, _ = jax.tree.unflatten(tree, leaves)
    return [kept.operands.h, kept.ys]


def _pullback_results(*leaves: Any, tree: Any, wanted: Any, groups: int, **_: Any) -> list[Any]:
    kept, *_ = jax.tree.unflatten(tree, leaves)
    weights, xs, h, reset_to, *_ = kept.operands
    if groups:
        weights = jax.tree.map(lambda w: w.update(shape=(groups, *w.shape)), weights)
    return _present(Tangents(weights, xs, h, reset_to, kept.ys), _named(wanted))


def _present(values: Tangents, named: Tangents) -> list[Any]:
    """Return the values where ``named`` is not None."""
    pairs = zip((*values.weights, *values[1:]), (*named.weights, *named[1:]), strict=True)
    return [value for value, name in pairs if name is not None]


_scan_tangent = functools.partial(_run_tangent, scan.linear)
_scan_pullback = functools.partial(_run_pullback, linear.pullback)
_tangent_p = loop_primitive(
    "gru_tangent",
    _scan_tangent,
    functools.partial(_run_tangent, native.linear),
    _tangent_results,
)
_pullback_p = loop_primitive(
    "gru_pullback",
    _scan_pullback,
    functools.partial(_run_pullback, native.pullback),
    _pullback_results,
)


def _tangent_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, tree: Any, plan: Plan, groups: int, **_: Any
) -> Any:
    kept, given = jax.tree.unflatten(tree, primals)
    _, dgiven = jax.tree.unflatten(tree, map(_none_if_zero, tangents))
    outputs = tangent(plan, kept, given, groups)
    first = jnp.zeros_like(kept.operands.h) if given.h is None else given.h
    before = states_before(outputs[1], first, reverse=plan.reverse)
    added = _moved(kept, tangents, lambda kept: every_step(plan, groups, kept, given, before))
    dgiven = dgiven._replace(forcing=_sum(dgiven.forcing, added))
    return outputs, tangent(plan, kept, dgiven, groups)


def _pullback_jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    tree: Any,
    wanted: Any,
    plan: Plan,
    groups: int,
    **_: Any,
) -> Any:
    kept, of_last, of_ys = jax.tree.unflatten(tree, primals)
    _, dof_last, dof_ys = jax.tree.unflatten(tree, map(_none_if_zero, tangents))
    named = _named(wanted)
    outputs = _pullback(plan, kept, of_last, of_ys, named._replace(forcing=True), groups)
    of_steps: Any = outputs.forcing
    moved = _moved(
        kept, tangents, lambda kept: every_step_transposed(plan, groups, kept, named, of_steps)
    )
    added = Tangents._make([Weights._make([None] * 4), *[None] * 4])
    if moved is not None:
        added, of_states = moved
        # That of the state before the first step goes to h.
        first = of_states[-1 if plan.reverse else 0]
        before = states_before(of_states, jnp.zeros_like(first), reverse=not plan.reverse)
        added, dof_ys = added._replace(h=first), _sum(dof_ys, before)
    moved = _pullback(plan, kept, dof_last, dof_ys, named, groups)
    return _present(outputs, named), list(map(_sum, _present(moved, named), _present(added, named)))


def _moved(kept: Kept, tangents: Sequence[Any], function: Callable[[Kept], Any]) -> Any:
    """Return the tangent of a function of the kept values, whose tangents come first."""
    leaves, tree = jax.tree.flatten(kept)
    moving = [i for i in range(len(leaves)) if type(tangents[i]) is not ad.Zero]
    if not moving:
        return None

    def of_moving(*values: Any) -> Any:
        given = list(leaves)
        for i, value in zip(moving, values, strict=True):
            given[i] = value
        return function(jax.tree.unflatten(tree, given))

    values, dvalues = [leaves[i] for i in moving], [tangents[i] for i in moving]
    return jax.jvp(of_moving, values, dvalues)[1]


def _tangent_transpose(
    cotangents: Sequence[Any], *operands: Any, tree: Any, plan: Plan, groups: int, **_: Any
) -> list[Any]:
    kept, given = jax.tree.unflatten(tree, operands)
    # None where a tangent is absent or known.
    wanted = jax.tree.map(
        lambda x: True if isinstance(x, ad.UndefinedPrimal) else None,
        given,
        is_leaf=lambda x: isinstance(x, ad.UndefinedPrimal),
    )
    of_last, of_ys = map(_none_if_zero, cotangents)
    moved = _pullback(plan, kept, of_last, of_ys, wanted, groups)
    return [*[None] * len(jax.tree.leaves(kept)), *_present(moved, given)]


def _pullback_transpose(
    cotangents: Sequence[Any],
    *operands: Any,
    tree: Any,
    wanted: Any,
    plan: Plan,
    groups: int,
    **_: Any,
) -> list[Any]:
    kept, *given = jax.tree.unflatten(tree, operands)
    tangents = jax.tree.unflatten(wanted, map(_none_if_zero, cotangents))
    moved = tangent(plan, kept, tangents, groups)
    found = [
        x if isinstance(of, ad.UndefinedPrimal) else None
        for x, of in zip(moved, given, strict=True)
        if of is not None
    ]
    return [*[None] * len(jax.tree.leaves(kept)), *found]


def _batch(
    primitive: Any, operands: Sequence[Array], axes: Sequence[int | None], **static: Any
) -> tuple[Sequence[Array], Sequence[int]]:
    """Fold the new axis into the rows; map the scan over it if each entry has its own weights."""
    tree, groups = static["tree"], static["groups"]
    kept_axes, *_ = jax.tree.unflatten(tree, axes)
    if jax.tree.leaves(kept_axes.operands.weights) or keeps_axes():
        scan_form = _scan_tangent if primitive is _tangent_p else _scan_pullback
        unless_native(static.pop("implementation"), MAPPED_WEIGHTS)
        mapped = jax.vmap(functools.partial(scan_form, **static), in_axes=tuple(axes))
        results = mapped(*operands)
        return results, [0] * len(results)

    of_tangents, of_states = Tangents._make([_GROUP, 1, 0, 0, 1]), (0, 1)
    of_kept = Kept._make([Operands._make([_WHOLE, 1, 0, 0, 1, 0]), 1, 1])
    if primitive is _tangent_p:
        rows, result_rows = _leaves((of_kept, of_tangents), tree), [*of_states]
    else:
        rows, result_rows = (
            _leaves((of_kept, *of_states), tree),
            _leaves(of_tangents, static["wanted"]),
        )
    if _GROUP in (*rows, *result_rows):
        size = next(x.shape[a] for x, a in zip(operands, axes, strict=True) if a is not None)
        static["groups"] = size * max(groups, 1)
    else:
        static["groups"] = 0
    is_new = [row == _GROUP and not groups for row in rows]
    results, result_axes = fold_rows(
        functools.partial(primitive.bind, **static),
        [x[None] if new else x for x, new in zip(operands, is_new, strict=True)],
        [a + 1 if new and a is not None else a for a, new in zip(axes, is_new, strict=True)],
        [{_GROUP: 0, _WHOLE: None}.get(row, row) for row in rows],
        [0 if row == _GROUP else row for row in result_rows],
    )
    if not groups:
        results = [
            x.squeeze(1) if row == _GROUP else x
            for x, row in zip(results, result_rows, strict=True)
        ]
    return results, result_axes


# The values for the axis of the rows if it is the axis of their groups, and if there is none.
_GROUP, _WHOLE = -1, -2


def _leaves(prefix: Any, tree: Any) -> list[int]:
    """Return the leaf of a prefix of a structure for each of its leaves."""
    full = jax.tree.unflatten(tree, range(tree.num_leaves))
    return jax.tree.leaves(jax.tree.broadcast(prefix, full))


def _named(wanted: Any) -> Any:
    """Return tangents that are not None where they are in a structure."""
    return jax.tree.unflatten(wanted, [True] * wanted.num_leaves)


def _none_if_zero(tangent: Any) -> Any:
    return None if type(tangent) is ad.Zero else tangent


def _sum(one: Any, other: Any) -> Any:
    """Return the sum of arrays that may be None, for zero."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


for _primitive, _jvp, _transpose in (
    (_tangent_p, _tangent_jvp, _tangent_transpose),
    (_pullback_p, _pullback_jvp, _pullback_transpose),
):
    ad.primitive_jvps[_primitive] = _jvp
    ad.primitive_transposes[_primitive] = _transpose
    batching.primitive_batchers[_primitive] = functools.partial(_batch, _primitive)
