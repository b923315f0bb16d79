"""The sharding of states: explicit meshes, and the varying axes of ``jax.shard_map``."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

Array = jax.Array


def state_like(h: Array, xs: Array) -> Array:
    """Return a state broadcast to ``(B, H)``, with the sharding of inputs ``(T, B, I)``."""
    shape = (xs.shape[1], h.shape[-1])
    sharding = _sharding(xs, lambda spec: (spec[1], None))
    if h.shape != shape:
        h = lax.broadcast_in_dim(h, shape, range(2 - h.ndim, 2), out_sharding=sharding)
    elif sharding is not None:
        h = jax.sharding.reshard(h, sharding)  # type: ignore[no-untyped-call]
    state: Array = varying_alike(h, xs)[0]
    return state


def split_rows(array: Array, xs: Array) -> Array:
    """Return ``(..., B, H)`` with the batch axes of inputs ``(T, *batch, I)`` in place of B."""
    _, *batch, _ = xs.shape
    *leading, _, last = array.shape
    sharding = _sharding(xs, lambda spec: (*[None] * len(leading), *spec[1:-1], None))
    return lax.reshape(array, (*leading, *batch, last), out_sharding=sharding)


def _sharding(like: Array, change: Callable[[Any], tuple[Any, ...]]) -> Any:
    """Return the sharding of an array with its spec changed; None without an explicit mesh."""
    sharding: Any = jax.typeof(like).sharding
    return sharding.update(spec=change(sharding.spec)) if any(sharding.spec) else None


def varying_alike(*arrays: Any) -> list[Any]:
    """Return arrays that vary over the same axes of ``jax.shard_map``, as a loop requires."""
    axes = [_varying(array) for array in arrays]
    every = frozenset().union(*axes)
    return [
        lax.pcast(array, tuple(sorted(every - own, key=str)), to="varying")
        if every - own
        else array
        for array, own in zip(arrays, axes, strict=True)
    ]


def _varying(array: Any) -> frozenset[Any]:
    varying: frozenset[Any] = jax.typeof(array).manual_axis_type.varying
    return varying
