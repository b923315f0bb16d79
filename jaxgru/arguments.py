"""Arguments of the recurrence: their shapes checked, their types brought to the state's."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgru.params import GRUParams, at_least_float32, shape_of

Array = jax.Array


def check_last_axis(name: str, value: Array, size: int, what: str) -> None:
    """Raise ValueError unless the last axis of ``value`` has the given size."""
    shape = shape_of(name, value)
    if not shape or shape[-1] != size:
        raise ValueError(f"{name} has shape {shape}: expected (..., {size}), for {size} {what}")


def to_state_dtype(params: GRUParams, **arrays: Any) -> tuple[Any, ...]:
    """Return params and arrays in the type of the state: all promoted, and at least float32.

    Half precision is a way to store numbers: such weights and inputs are widened, exactly and
    once, before the loop, so that the state and every sum keep single precision.

    Raises ValueError, naming the argument, where one is no floating-point array or JAX's own
    promotion refuses it (``jax.numpy_dtype_promotion("strict")``).
    """
    for name, value in arrays.items():
        found = jnp.result_type(value)
        if not jnp.issubdtype(found, jnp.floating):
            raise ValueError(f"{name} has dtype {found.name}: expected a floating-point type")
    # jnp.result_type, not .dtype: a NumPy array of float64 counts as what JAX would make of it.
    dtype = at_least_float32(jnp.result_type(params.kernel))
    named = {field: getattr(params, field) for field in _WEIGHTS} | arrays
    for name, value in named.items():
        if value is None:
            continue
        try:
            dtype = jnp.promote_types(dtype, at_least_float32(jnp.result_type(value)))
        except ValueError:  # JAX's TypePromotionError
            raise ValueError(
                f"{name} has dtype {jnp.result_type(value).name}: expected {dtype.name}, as strict "
                "dtype promotion is on"
            ) from None
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
    return (params, *(jnp.asarray(value, dtype) for value in arrays.values()))


_WEIGHTS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
