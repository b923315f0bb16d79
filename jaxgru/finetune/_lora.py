"""Low-rank changes of kernels (LoRA) and their merging into the weights."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
from jax import lax

from jaxgru._net import Net
from jaxgru.finetune._trainable import leaf_paths, trainable_mask
from jaxgru.model import Model

Array = jax.Array


class Delta(NamedTuple):
    """A change of rank R of a kernel ``(I, J)``: the product of ``(I, R)`` and ``(R, J)``."""

    left: Array
    right: Array


@functools.partial(jax.tree_util.register_dataclass, data_fields=["net", "deltas"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class LowRank:
    """A net and low-rank changes of its kernels, which are trained instead of the kernels.

    With ``W`` a kernel: ``W' = W + left right``, where left is ``(I, R)`` and right ``(R, 3H)``.

    Args:
        net: the net, or another layer of a model, which does not change.
        deltas: a ``Delta`` for each kernel that changes, by its dotted path in the net.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import leaf_paths, low_rank
    >>> net = jaxgru.init(jax.random.key(0), 3, 5, use_bias=False)
    >>> leaf_paths(low_rank(net, jax.random.key(1), rank=2, kernels="recurrent_kernel"))[2:]
    ['deltas.recurrent_kernel.left', 'deltas.recurrent_kernel.right']

    Source: Hu et al. 2021 (arXiv:2106.09685).
    """

    net: Any  # Any: a net, or a layer
    deltas: dict[str, Delta]


@overload
def low_rank(net: Model, key: Array, *, rank: int, kernels: str | Sequence[str] = ...) -> Model: ...


@overload
def low_rank(net: Net, key: Array, *, rank: int, kernels: str | Sequence[str] = ...) -> LowRank: ...


def low_rank(
    net: Net | Model,
    key: Array,
    *,
    rank: int,
    kernels: str | Sequence[str] = ("kernel", "recurrent_kernel"),
) -> LowRank | Model:
    """Return a net with low-rank changes, initially zero, for ``jaxgru.finetune.fit``.

    Args:
        net: the net, as in ``jaxgru.gru``; or a model, of which the layers with such kernels
            change.
        key: a JAX random key, for the left factors; the right ones are zero.
        rank: R, at least 1. A layer of I inputs and H units has R (I + 3H) trained numbers for the
            kernel and 4 R H for the recurrent kernel.
        kernels: patterns of the weights that change, as in ``trainable_mask``.

    Returns:
        The net and its changes. For a model, the model with each layer that changes replaced by a
        ``LowRank``.

    Raises:
        ValueError: rank is below 1, or a pattern matches nothing or an array that is not a matrix.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import low_rank
    >>> net = low_rank(jaxgru.init(jax.random.key(0), 3, 5), jax.random.key(1), rank=2)
    >>> {path: (delta.left.shape, delta.right.shape) for path, delta in net.deltas.items()}
    {'kernel': ((3, 2), (2, 15)), 'recurrent_kernel': ((5, 2), (2, 15))}

    Source: Hu et al. 2021 (arXiv:2106.09685), with their scale of 1.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}: expected at least 1")
    chosen = trainable_mask(net, kernels)
    if not isinstance(net, Model):
        return _changing(net, chosen, key, rank)
    layers = dict(net.layers)
    for i, (name, layer) in enumerate(net.layers.items()):
        if any(jax.tree.leaves(chosen.layers[name])):
            own_key = jax.random.fold_in(key, i)
            try:
                layers[name] = _changing(layer, chosen.layers[name], own_key, rank)
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from error
    return Model(layers, example_axes=net.example_axes)


def _changing(net: Any, chosen: Any, key: Array, rank: int) -> LowRank:
    places = zip(leaf_paths(net), jax.tree.leaves(net), jax.tree.leaves(chosen), strict=True)
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


def merge(net: Any) -> Any:  # Any: the type of the argument, without its LowRank
    """Return a net or a model with all low-rank changes in it added to the kernels.

    Training uses the same function, so the merged net has the same outputs as in training.

    Args:
        net: a ``LowRank``, a model, or a net as in ``jaxgru.gru``, which is returned unchanged.

    Returns:
        The net or the model, of the same types as before.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import low_rank, merge
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> merged = merge(low_rank(net, jax.random.key(1), rank=2))
    >>> bool((merged.kernel == net.kernel).all())
    True
    """
    return jax.tree.map(_merged, net, is_leaf=lambda node: isinstance(node, LowRank))


def _merged(node: Any) -> Any:
    if not isinstance(node, LowRank):
        return node
    leaves, structure = jax.tree.flatten(node.net)
    changed = [
        _changed(leaf, node.deltas[path]) if path in node.deltas else leaf
        for path, leaf in zip(leaf_paths(node.net), leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, changed)


@jax.jit
def _changed(kernel: Array, delta: Delta) -> Array:
    product = jnp.matmul(delta.left, delta.right, precision="highest")
    # In a larger computation, XLA may fuse product and sum and round once instead of twice: the
    # merged weights would then differ from those in training.
    changed: Array = kernel + lax.optimization_barrier(product)  # type: ignore[no-untyped-call]
    return changed
