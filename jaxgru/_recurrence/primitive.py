"""Loops as primitives of JAX, each with two implementations and a rule for ``jax.vmap``."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import mlir

from jaxgru._recurrence.implementation import Implementation, unless_native

Array = jax.Array
Loop = Callable[..., Any]


def loop_primitive(name: str, scan: Loop, native: Loop, abstract: Loop) -> Any:
    """Return a primitive for a loop.

    Its static parameter ``implementation`` is "scan", "native", or "auto": native, except in
    programs of ``jax.export``, which may run without the library.

    Args:
        name: of the primitive.
        scan: the loop as JAX operations; called with operands and the other static parameters.
        native: the loop as a call of the library, for CPUs.
        abstract: the rule of the results' shapes and types.
    """
    primitive: Any = Primitive(name)  # Any: the methods of JAX's primitives have no types
    primitive.multiple_results = True
    primitive.def_impl(functools.partial(_compute, primitive, scan))
    primitive.def_abstract_eval(abstract)
    as_scan = mlir.lower_fun(_without_choice(scan), multiple_results=True)
    as_native = mlir.lower_fun(_without_choice(native), multiple_results=True)

    def lowering(
        context: Any, *operands: Any, implementation: Implementation, **static: Any
    ) -> Any:
        module = context.module_context
        platforms = tuple(module.platforms)
        reason = None
        if module.lowering_parameters.for_export:
            reason = "expected a program for this process, but jax.export makes one for others"
        elif platforms != ("cpu",):
            reason = f"expected the platform cpu, but the program is for {', '.join(platforms)}"
        if reason is not None:
            unless_native(implementation, reason)
        rule = as_native if reason is None and implementation != "scan" else as_scan
        return rule(context, *operands, implementation=implementation, **static)

    mlir.register_lowering(primitive, lowering)
    return primitive


def _compute(
    primitive: Any, scan: Loop, *operands: Any, implementation: Implementation, **static: Any
) -> Any:
    # Under jax.disable_jit there is no lowering, but a native loop is one operation.
    config: Any = jax.config
    if config.jax_disable_jit and implementation != "native":
        return scan(*operands, **static)
    compiled = jax.jit(functools.partial(primitive.bind, implementation=implementation, **static))
    with jax.disable_jit(False):
        return compiled(*operands)


def _without_choice(loop: Loop) -> Loop:
    def run(*operands: Any, implementation: str, **static: Any) -> Any:
        return loop(*operands, **static)

    return run


def fold_rows(
    run: Callable[..., Sequence[Array]],
    operands: Sequence[Array],
    axes: Sequence[int | None],
    rows: Sequence[int | None],
    result_rows: Sequence[int],
) -> tuple[list[Array], list[int]]:
    """Run a loop on mapped operands, the mapped axis folded into that of the rows.

    Args:
        run: the loop, called with operands.
        operands: with an axis more where ``axes`` names one.
        axes: the mapped axis of each operand, or None.
        rows: the axis of the rows of each operand without the mapped one, or None if it has none
            (and then no mapped one).
        result_rows: the axis of the rows of each result.

    Returns:
        The results, and their mapped axes.
    """
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)

    def folded(x: Array, axis: int | None, row: int | None) -> Array:
        if row is None:
            return x
        if axis is None:
            x = jnp.broadcast_to(jnp.expand_dims(x, row), (*x.shape[:row], size, *x.shape[row:]))
        else:
            x = jnp.moveaxis(x, axis, row)
        return x.reshape(*x.shape[:row], size * x.shape[row + 1], *x.shape[row + 2 :])

    results = run(*(folded(*given) for given in zip(operands, axes, rows, strict=True)))
    unfolded = [
        x.reshape(*x.shape[:row], size, x.shape[row] // size, *x.shape[row + 1 :])
        for x, row in zip(results, result_rows, strict=True)
    ]
    return unfolded, list(result_rows)
