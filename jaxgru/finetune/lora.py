"""Low-rank changes of kernels (LoRA), and how they become part of the weights."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgru.finetune.trainable import leaf_paths, trainable_mask

Array = jax.Array


class Delta(NamedTuple):
    """A change of rank R of a kernel ``(I, J)``: the product of ``(I, R)`` and ``(R, J)``."""

    left: Array
    right: Array


@functools.partial(jax.tree_util.register_dataclass, data_fields=["net", "deltas"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class LowRank:
    """A net and low-rank changes of its kernels, to be trained in the kernels' place.

    With ``W`` a kernel: ``W' = W + left right``, where left is ``(I, R)`` and right ``(R, 3H)``.

    Args:
        net: the net, which stays as it is.
        deltas: a ``Delta`` for each kernel that changes, by its dotted path in the net.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import leaf_paths, low_rank
    >>> net = jaxgru.init(jax.random.key(0), 3, 5, use_bias=False)
    >>> leaf_paths(low_rank(net, jax.random.key(1), rank=2, kernels="recurrent_kernel"))[2:]
    ['deltas.recurrent_kernel.left', 'deltas.recurrent_kernel.right']

    Source: Hu et al. 2021 (arXiv:2106.09685).
    """

    net: Any
    deltas: dict[str, Delta]


def low_rank(
    net: Any,
    key: Array,
    *,
    rank: int,
    kernels: str | Sequence[str] = ("kernel", "recurrent_kernel"),
) -> LowRank:
    """Return a net with low-rank changes, all zero as yet, for ``jaxgru.finetune.fit``.

    Args:
        net: the net, as ``jaxgru.gru`` takes it.
        key: a JAX random key, for the left factors; the right ones are zero.
        rank: R, at least 1. Of a layer of I inputs and H units are trained R (I + 3H) numbers in
            the kernel's place and R 4H in that of the recurrent kernel.
        kernels: which of the weights change, as in ``trainable_mask``.

    Returns:
        The net and its changes.

    Raises:
        ValueError: rank is below 1, a pattern fits nothing, or what it fits is no matrix.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import low_rank
    >>> net = low_rank(jaxgru.init(jax.random.key(0), 3, 5), jax.random.key(1), rank=2)
    >>> {path: (delta.left.shape, delta.right.shape) for path, delta in net.deltas.items()}
    {'kernel': ((3, 2), (2, 15)), 'recurrent_kernel': ((5, 2), (2, 15))}

    Source: Hu et al. 2021 (arXiv:2106.09685), with their scale of 1.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}: expected at least 1")
    chosen = jax.tree.leaves(trainable_mask(net, kernels))
    places = zip(leaf_paths(net), jax.tree.leaves(net), chosen, strict=True)
    changing = {path: leaf for path, leaf, is_chosen in places if is_chosen}
    deltas = {}
    for (path, kernel), each in zip(
        changing.items(), jax.random.split(key, len(changing)), strict=True
    ):
        if kernel.ndim != 2:
            raise ValueError(f"{path} has shape {kernel.shape}: expected a matrix to change")
        rows, columns = kernel.shape
        left = jax.random.normal(each, (rows, rank), jnp.float32) / math.sqrt(rank)
        deltas[path] = Delta(left.astype(kernel.dtype), jnp.zeros((rank, columns), kernel.dtype))
    return LowRank(net, deltas)


def merge(net: Any) -> Any:
    """Return the net that a ``LowRank`` stands for, and any other net as it is.

    Training computes with just this, so that the merged net's outputs are those seen in training.

    Args:
        net: a ``LowRank``, or a net as ``jaxgru.gru`` takes it.

    Returns:
        The net, of the same types as before.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import low_rank, merge
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> merged = merge(low_rank(net, jax.random.key(1), rank=2))
    >>> bool((merged.kernel == net.kernel).all())
    True
    """
    if not isinstance(net, LowRank):
        return net
    leaves, structure = jax.tree.flatten(net.net)
    changed = [
        _changed(leaf, net.deltas[path]) if path in net.deltas else leaf
        for path, leaf in zip(leaf_paths(net.net), leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, changed)


@jax.jit
def _changed(kernel: Array, delta: Delta) -> Array:
    product = jnp.matmul(delta.left, delta.right, precision="highest")
    # Within a larger computation XLA may make one of product and sum, as GPUs have it, and round
    # once where this rounds twice: the merged weights were not those of the training then.
    changed: Array = kernel + lax.optimization_barrier(product)  # type: ignore[no-untyped-call]
    return changed
