"""The choice of the implementation of the loops: ``lax.scan``, or the compiled ones of library.py.

The choice is made only here. A kernel for another platform is one more name, with the conditions
under which it cannot run.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxgru._params import GRUParams
from jaxgru._recurrence.layout import Precision, keeps_axes
from jaxgru._recurrence.library import native

# "auto": native where it is supported, except in exported programs, which may run without it.
Implementation = Literal["auto", "scan", "native"]

MAPPED_WEIGHTS = "expected weights without a mapped axis, but jax.vmap maps them"


def choose(
    implementation: Implementation, params: GRUParams, precision: Precision, dtype: Any
) -> Implementation:
    """Return "scan", or the given implementation if the native loops support a layer.

    Raises:
        ValueError: "native" is given and not supported. The message has the reason.
    """
    if implementation == "scan":
        return "scan"
    reason = _reason_against_native(params, precision, jnp.dtype(dtype))
    if reason is None:
        return implementation
    unless_native(implementation, reason)
    return "scan"


def unless_native(implementation: Implementation, reason: str) -> None:
    """Raise ValueError with a reason against the native loops if they were asked for."""
    if implementation == "native":
        raise ValueError(f"implementation is 'native': {reason}")


def _reason_against_native(params: GRUParams, precision: Precision, dtype: Any) -> str | None:
    missing = native().reason
    if missing is not None:
        return f"expected the native loops, which are not available: {missing}"
    if jax.default_backend() != "cpu":
        return f"expected the platform cpu, but JAX computes on {jax.default_backend()}"
    if jax.device_count() > 1:
        return f"expected a single device, but JAX has {jax.device_count()}"
    if keeps_axes():
        return "expected a call without a mesh, and outside jax.pmap and jax.shard_map"
    if dtype not in (jnp.float32, jnp.float64):
        return f"expected float32 or float64, but the state is {dtype.name}"
    if not _is_full(precision):
        return f"expected full precision of products, but precision is {precision!r}"
    return reason_of_equations(params)


def reason_of_equations(params: GRUParams) -> str | None:
    """Return the reason why the native loops do not support the equations of a layer, or None."""
    if (params.activation, params.recurrent_activation) != ("tanh", "sigmoid"):
        return (
            f"expected the activations tanh and sigmoid, but the layer has {params.activation} and "
            f"{params.recurrent_activation}"
        )
    if params.clip is not None:
        return f"expected no clip, but the layer has {params.clip}"
    return None


def _is_full(precision: Any) -> bool:
    """Return whether a CPU computes products of this precision in the dtype of the operands."""
    parts = precision if isinstance(precision, tuple) else (precision,)
    names = (None, "default", "high", "highest", "float32")
    return all(isinstance(part, lax.Precision) or part in names for part in parts)
