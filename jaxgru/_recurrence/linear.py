"""The linear recurrence and its transpose, as two JAX primitives.

The tangent of ``y_t = M_t y_{t-1} + e_t`` is ``dy_t = M_t dy_{t-1} + (dM_t y_{t-1} + de_t)``: the
same recurrence with another forcing, which is computed for all steps at once. The transpose is a
recurrence of the same form that runs in the opposite direction. Derivatives of any order therefore
use these two loops, and no loop is differentiated step by step.

The operands of both primitives are the leaves of (coefficients, kernel, flags, factors), a sequence
``(T, B, H)`` and a state ``(B, H)``. The results are a state and a sequence, linear in these two.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import ad, batching

from jaxgru._recurrence import native, scan
from jaxgru._recurrence.devices import varying_alike
from jaxgru._recurrence.implementation import Implementation
from jaxgru._recurrence.layout import Precision, keeps_axes
from jaxgru._recurrence.primitive import Loop, fold_rows, loop_primitive
from jaxgru._recurrence.scan import Coefficients, Flags, map_step, states_before, transposed_step

Array = jax.Array


def linear(
    coefficients: Coefficients,
    transposed_kernel: Array,
    forcing: Array,
    dh: Array,
    flags: Flags,
    factors: Array | None,
    precision: Precision,
    *,
    reverse: bool,
    implementation: Implementation,
) -> tuple[Array, Array]:
    """Return the last state and all states of ``dh_t = M_t dh_{t-1} + e_t``: ``scan.linear``."""
    leaves, tree = jax.tree.flatten((coefficients, transposed_kernel, flags, factors))
    operands = (*leaves, forcing, dh)
    static = {"precision": precision, "reverse": reverse, "implementation": implementation}
    return _bind(_linear_p, operands, tree=tree, **static)


def _bind(primitive: Any, operands: Sequence[Any], **static: Any) -> tuple[Array, Array]:
    state, sequence = primitive.bind(*varying_alike(*operands), **static)
    return state, sequence


def _run(loop: Loop, *operands: Any, tree: Any, **static: Any) -> Any:
    """Apply a loop of scan.py or native.py to the operands of a primitive."""
    *leaves, sequence, state = operands
    coefficients, kernel, flags, factors = jax.tree.unflatten(tree, leaves)
    return loop(coefficients, kernel, sequence, state, flags, factors, **static)


def _tangent(
    primitive: Any, primals: Sequence[Any], tangents: Sequence[Any], **static: Any
) -> tuple[Any, Any]:
    *_, dsequence, dstate = tangents
    outputs = _bind(primitive, primals, **static)
    dsequence, dstate = _instantiated(dsequence), _instantiated(dstate)
    # In the transposed loop, the term of the first step goes to the state, not to the sequence.
    added, first = _maps_tangent(primitive, primals, tangents, outputs, **static)
    if added is not None:
        dsequence = dsequence + added
    dstate, dsequence = _bind(primitive, (*primals[:-2], dsequence, dstate), **static)
    return outputs, (dstate if first is None else dstate + first, dsequence)


def _maps_tangent(
    primitive: Any,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    outputs: tuple[Array, Array],
    *,
    tree: Any,
    precision: Precision,
    reverse: bool,
    implementation: Implementation,
) -> tuple[Array | None, Array | None]:
    """Return the tangents due to the maps M: of the sequence and of the state; None for zero."""
    *leaves, _, state = primals
    moving = [i for i, tangent in enumerate(tangents[:-2]) if type(tangent) is not ad.Zero]
    if not moving:
        return None, None
    _, sequence = outputs
    is_linear = primitive is _linear_p
    mapped = states_before(sequence, state, reverse=reverse) if is_linear else sequence

    def apply(*values: Any) -> Array:
        given = list(leaves)
        for i, value in zip(moving, values, strict=True):
            given[i] = value
        coefficients, kernel, flags, factors = jax.tree.unflatten(tree, given)
        step = map_step if is_linear else transposed_step
        return step(coefficients, kernel, mapped, flags, factors, precision)

    values, dvalues = [leaves[i] for i in moving], [tangents[i] for i in moving]
    _, added = jax.jvp(apply, values, dvalues)
    if is_linear:
        return added, None
    edge = jnp.zeros_like(state)
    first = added[-1 if reverse else 0]
    return states_before(added, edge, reverse=not reverse), first


def _transpose(twin: Any, cotangents: Sequence[Any], *operands: Any, **static: Any) -> list[Any]:
    *leaves, sequence, state = operands
    of_state, of_sequence = map(_instantiated, cotangents)
    state_too, sequence_too = _bind(twin, (*leaves, of_sequence, of_state), **static)
    return [
        *[None] * len(leaves),
        sequence_too if isinstance(sequence, ad.UndefinedPrimal) else None,
        state_too if isinstance(state, ad.UndefinedPrimal) else None,
    ]


def _instantiated(tangent: Any) -> Any:
    return ad.instantiate_zeros(tangent)  # type: ignore[no-untyped-call]


def _batch(
    primitive: Any, operands: Sequence[Array], axes: Sequence[int | None], **static: Any
) -> tuple[list[Array], list[int]]:
    """Fold the new axis into the rows, or map the loop over it if each entry has its own kernel."""
    parts = jax.tree.unflatten(static["tree"], operands[:-2])
    coefficients, _, flags, factors = (len(jax.tree.leaves(part)) for part in parts)
    if axes[coefficients] is not None or keeps_axes():
        loop = scan.linear if primitive is _linear_p else scan.transposed
        static.pop("implementation")
        mapped = jax.vmap(functools.partial(_run, loop, **static), in_axes=tuple(axes))
        return list(mapped(*operands)), [0, 0]
    # The kernel has no rows.
    rows = [*[1] * coefficients, None, *[1] * flags, *[0] * factors, 1, 0]

    def run(*folded: Array) -> tuple[Array, Array]:
        return _bind(primitive, folded, **static)

    return fold_rows(run, operands, axes, rows, result_rows=[0, 1])


def _abstract(*operands: Any, **_: Any) -> tuple[Any, Any]:
    return operands[-1], operands[-2]


_linear_p = loop_primitive(
    "gru_linear",
    functools.partial(_run, scan.linear),
    functools.partial(_run, native.linear),
    _abstract,
)
_transposed_p = loop_primitive(
    "gru_transposed",
    functools.partial(_run, scan.transposed),
    functools.partial(_run, native.transposed),
    _abstract,
)
for _primitive, _twin in ((_linear_p, _transposed_p), (_transposed_p, _linear_p)):
    ad.primitive_jvps[_primitive] = functools.partial(_tangent, _primitive)
    ad.primitive_transposes[_primitive] = functools.partial(_transpose, _twin)
    batching.primitive_batchers[_primitive] = functools.partial(_batch, _primitive)
