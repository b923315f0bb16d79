"""Haiku's dynamic unroll, with the loops of jaxgru: ``import jaxgru.haiku``."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxgru._dropins import hand_over
from jaxgru._optional import need
from jaxgru._params import GRUParams
from jaxgru._sequence import gru

hk: Any = need("haiku", "haiku", "jaxgru.haiku")
_module: Any = need("haiku._src.module", "haiku", "jaxgru.haiku")
__all__ = ["ResetCore", "dynamic_unroll"]

# One step is Haiku's own. dynamic_unroll replaces only the loop over all steps.
ResetCore = hk.ResetCore


def dynamic_unroll(
    core: Any,
    input_sequence: Any,
    initial_state: Any,
    time_major: bool = True,
    reverse: bool = False,
    return_all_states: bool = False,
    unroll: int = 1,
) -> tuple[Any, Any]:
    """Return what ``haiku.dynamic_unroll`` returns for a ``haiku.GRU``, or a ``ResetCore`` of one.

    The parameters, their names and their first values are those of Haiku. Half precision is
    computed in float32 and rounded once. ``unroll`` has no effect.

    With another core, flags for each unit, or a method interceptor, such as a policy of mixed
    precision, Haiku's own loop runs, with a warning.

    Args:
        core: a ``haiku.GRU`` or ``haiku.ResetCore(haiku.GRU(...))``.
        input_sequence: inputs ``(T, B, I)`` or ``(T, I)``; for a ``ResetCore``, a pair of these
            and of flags ``(T, B)`` or ``(T,)``.
        initial_state: the state ``(B, H)`` or ``(H,)``.
        time_major: whether time is the first axis instead of the second.
        reverse: run from the last step to the first.
        return_all_states: whether to return all states instead of the last one.
        unroll: not used.

    Returns:
        The outputs ``(T, B, H)``, and the last state ``(B, H)`` or all states.

    >>> import haiku as hk, jax, jax.numpy as jnp
    >>> import jaxgru.haiku
    >>> def run(xs):
    ...     core = hk.GRU(4)
    ...     return jaxgru.haiku.dynamic_unroll(core, xs, core.initial_state(2))
    >>> model = hk.without_apply_rng(hk.transform(run))
    >>> params = model.init(jax.random.key(0), jnp.ones((5, 2, 3)))
    >>> ys, h = model.apply(params, jnp.ones((5, 2, 3)))
    >>> ys.shape, h.shape
    ((5, 2, 4), (2, 4))

    Source: ``haiku/_src/recurrent.py``.
    """
    theirs = functools.partial(hk.dynamic_unroll, core, input_sequence, initial_state)
    options = time_major, reverse, return_all_states, unroll
    if reason := _reason(core, input_sequence, initial_state, time_axis=0 if time_major else 1):
        hand_over("haiku.dynamic_unroll", reason)
    if reason or hk.running_init():
        return theirs(*options)  # type: ignore[no-any-return]
    is_reset = type(core) is ResetCore
    xs, flags = input_sequence if is_reset else (input_sequence, None)
    xs, state = jnp.asarray(xs), jnp.asarray(initial_state)
    if not time_major:
        xs, flags = (None if array is None else jnp.swapaxes(array, 0, 1) for array in (xs, flags))
    params = _Weights.read(core.core if is_reset else core, xs.shape[-1], xs.dtype)
    dtype = jnp.result_type(xs, state, *jax.tree.leaves(params))
    if dtype != state.dtype:  # Haiku's scan raises the error that the state changes its type
        return theirs(*options)  # type: ignore[no-any-return]
    if flags is None:
        ys, last = gru(params, xs, state, time_major=True, reverse=reverse)
    else:
        # The core resets before each step, also in reverse, so the inputs are reversed instead.
        flags = jnp.reshape(flags, (*flags.shape, *(1,) * (xs.ndim - 1 - flags.ndim))) != 0
        resets, start = jnp.broadcast_to(flags, xs.shape[:-1]), jnp.zeros_like(state)
        xs, resets = (array[::-1] if reverse else array for array in (xs, resets))
        ys, last = gru(params, xs, state, time_major=True, resets=resets, reset_state=start)
        ys = ys[::-1] if reverse else ys
    ys, last = ys.astype(dtype), last.astype(dtype)
    ys = ys if time_major else jnp.swapaxes(ys, 0, 1)
    return ys, ys if return_all_states else last


class _Weights(hk.Module):  # type: ignore[misc]
    def read(self, inputs: int, dtype: Any) -> GRUParams:
        """Return the parameters of a ``haiku.GRU``, which is passed as ``self``.

        A method of a module runs in the scope of the module, where Haiku's getters apply. The
        update gate of Haiku is the complement.
        """
        units = self.hidden_size

        def get(name: str, *rows: int) -> Array:
            array = hk.get_parameter(name, [*rows, 3 * units], dtype)
            return jnp.concatenate([-array[..., :units], array[..., units:]], axis=-1)

        return GRUParams(get("w_i", inputs), get("w_h", units), get("b"), reset_after=False)


def _reason(core: Any, input_sequence: Any, state: Any, time_axis: int) -> str | None:
    """Return the reason why Haiku's own loop runs, or None."""
    inner = core.core if type(core) is ResetCore else core
    if type(inner) is not hk.GRU:
        return f"the core is a {type(inner).__name__}, not a haiku.GRU"
    if getattr(_module, "interceptor_stack", ()):
        return "a method interceptor is active, as with a policy of mixed precision"
    if inner is core:
        return None
    sizes = getattr(input_sequence[1], "shape", ())
    step = sizes[:time_axis] + sizes[time_axis + 1 :]
    is_of_rows = len(step) < jnp.ndim(state) and step == jnp.shape(state)[: len(step)]
    return None if is_of_rows and len(step) < len(sizes) else "the flags are not (T, B) or (T,)"
