"""Batches sharded over devices, in one process or several."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_BATCH_AXIS = "batch"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh of devices over which ``jaxgru.finetune.fit`` shards each batch.

    Each device has all weights and a part of the sequences; XLA sums the gradients. With several
    processes, each calls ``jax.distributed.initialize``, then the same ``fit``.

    Args:
        devices: the devices; if None, all devices of all processes.

    Returns:
        The mesh, of one axis.

    >>> import jax
    >>> from jaxgru.finetune import data_mesh
    >>> data_mesh().size == jax.device_count()
    True

    Source: ``jax.sharding``, ``jax.distributed``.
    """
    return Mesh(np.asarray(jax.devices() if devices is None else devices), (_BATCH_AXIS,))


def batch_size_of(batch_size: int, count: int, mesh: jax.sharding.Mesh | None) -> int:
    """Return the size of a batch: at most ``count``, and the same number on each device."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: expected at least 1")
    devices = 1 if mesh is None else mesh.size
    if batch_size % devices:
        raise ValueError(
            f"batch_size is {batch_size}: expected a multiple of {devices}, the devices of the mesh"
        )
    return -(-min(batch_size, count) // devices) * devices


def place(batch: Any, mesh: Mesh | None) -> Any:
    """Return a batch with its arrays sharded over their first axis and its scalars replicated."""
    if mesh is None:
        return batch
    return jax.tree.map(lambda array: _sharded(array, mesh, by_row=np.ndim(array) > 0), batch)


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Return a pytree of arrays replicated on each device."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda array: _sharded(array, mesh, by_row=False), tree)


def gather(tree: Any) -> Any:
    """Return a pytree with the full arrays in this process."""

    def gathered(array: Any) -> Any:
        if array.is_fully_addressable or array.is_fully_replicated:
            return array
        return multihost_utils.process_allgather(array, tiled=True)

    return jax.tree.map(gathered, tree)


def _sharded(array: Any, mesh: Mesh, *, by_row: bool) -> jax.Array:
    axes = (_BATCH_AXIS,) if by_row else ()
    sharding = NamedSharding(mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        numbers = _sharded(jax.random.key_data(array), mesh, by_row=by_row)
        key: jax.Array = jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(array))
        return key
    # Each process has the full array and copies the parts to its devices.
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])
