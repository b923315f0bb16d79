"""Arguments of the recurrence: their shapes checked, their types brought to the state's."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgru.params import at_least_float32, shape_of

Array = jax.Array


def check_last_axis(name: str, value: Array, size: int, what: str) -> None:
    """Raise ValueError unless the last axis of ``value`` has the given size."""
    shape = shape_of(name, value)
    if not shape or shape[-1] != size:
        raise ValueError(f"{name} has shape {shape}: expected (..., {size}), for {size} {what}")


def check_remat(remat: Any) -> None:
    """Raise ValueError unless remat is None, "states", or a number of steps."""
    if remat in (None, "states"):
        return
    if not isinstance(remat, int) or isinstance(remat, bool) or remat < 1:
        raise ValueError(f"remat is {remat!r}: expected None, 'states', or an int of at least 1")


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
