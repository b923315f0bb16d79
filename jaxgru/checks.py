"""Arguments of the recurrence: what they are is checked, their types brought to the state's."""

import functools
import numbers
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgru.params import at_least_float32, shape_of

Array = jax.Array


def check_last_axis(name: str, value: Array, size: int, what: str) -> None:
    """Raise ValueError unless the last axis of ``value`` has the given size."""
    shape = shape_of(name, value)
    if not shape or shape[-1] != size:
        raise ValueError(f"{name} has shape {shape}: expected (..., {size}), for {size} {what}")


def check_remat(remat: Any, time: int) -> int | Literal["states"] | None:
    """Return remat; raise ValueError unless it is None, "states", or a number of steps, 1 to time.

    A sequence without steps admits 1: nothing is kept of it.
    """
    if remat is None:
        return None
    if isinstance(remat, str) and remat == "states":
        return "states"
    most = max(time, 1)
    is_integer = isinstance(remat, numbers.Integral) and not isinstance(remat, bool)
    if not (is_integer and 1 <= remat <= most):
        raise ValueError(
            f"remat is {remat!r}: expected None, 'states', or an integer from 1 to {most}, for "
            f"{time} steps"
        )
    return int(remat)


def check_precision(precision: Any) -> None:
    """Raise ValueError unless ``jax.lax.dot_general`` takes the precision.

    Whether the device can compute in it shows when JAX compiles for that device.
    """
    try:
        known = _is_known_precision(precision)
    except TypeError:  # it cannot be hashed, so that neither this cache nor jax.jit takes it
        known = False
    if not known:
        raise ValueError(
            f"precision is {precision!r}: expected None, 'default', 'high', 'highest' or another "
            "name known to JAX, a jax.lax.Precision, a tuple of two names or of two of these, a "
            "jax.lax.DotAlgorithm or a jax.lax.DotAlgorithmPreset"
        )


@functools.lru_cache
def _is_known_precision(precision: Any) -> bool:
    # What is known differs between versions of JAX: so a product is formed, of shapes alone.
    vector = np.zeros(1, np.float32)
    try:
        jax.eval_shape(functools.partial(lax.dot, precision=precision), vector, vector)
    except (ValueError, TypeError):
        return False
    return True


def to_state_dtype(net: Any, **arrays: Any) -> tuple[Any, ...]:
    """Return a net and arrays in the type of the state: all promoted, and at least float32.

    Half precision is a way to store numbers: such weights and inputs are widened, exactly and
    once, before the loop, so that the state and every sum keep single precision.

    Args:
        net: a layer, or any structure of layers.
        **arrays: arguments by name, each an array, a structure of arrays, or None.

    Raises ValueError, naming the argument, where one is no floating-point array or JAX's own
    promotion refuses it (``jax.numpy_dtype_promotion("strict")``).
    """
    given = [pair for name, value in arrays.items() for pair in _named_leaves(name, value)]
    for name, value in given:
        found = jnp.result_type(value)
        if not jnp.issubdtype(found, jnp.floating):
            raise ValueError(f"{name} has dtype {found.name}: expected a floating-point type")
    named = [*_named_leaves("", net), *given]
    # jnp.result_type, not .dtype: a NumPy array of float64 counts as what JAX would make of it.
    types = [at_least_float32(jnp.result_type(value)) for _, value in named]
    dtype = types[0]
    for (name, value), other in zip(named, types, strict=True):
        try:
            dtype = jnp.promote_types(dtype, other)
        except ValueError:  # JAX's TypePromotionError
            raise ValueError(
                f"{name} has dtype {jnp.result_type(value).name}: expected {dtype.name}, as strict "
                "dtype promotion is on"
            ) from None
    return tuple(
        jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)
        for tree in (net, *arrays.values())
    )


def _named_leaves(name: str, tree: Any) -> list[tuple[str, Any]]:
    """Return the leaves of a structure with their names, such as ``h0[1].forward``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [((name + jax.tree_util.keystr(path)).lstrip("."), leaf) for path, leaf in leaves]
