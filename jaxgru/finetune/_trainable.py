"""The choice of trained weights, by their paths in the model."""

import fnmatch
from collections.abc import Sequence
from typing import Any

import jax

from jaxgru.model._layers import statistics


def leaf_paths(tree: object) -> list[str]:
    """Return the dotted path of every array of a pytree, in the order of ``jax.tree.leaves``.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import leaf_paths
    >>> layer = jaxgru.init(jax.random.key(0), 3, 5, use_bias=False)
    >>> leaf_paths((jaxgru.Bidirectional(layer, layer),))[:2]
    ['0.forward.kernel', '0.forward.recurrent_kernel']
    """
    return [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]


def trainable_mask(tree: object, patterns: str | Sequence[str]) -> Any:  # Any: a pytree of flags
    """Return a mask of the weights of a net or a model whose paths match some patterns.

    A pattern matches a weight if it matches its path, such as ``0.forward.kernel``, or the end of
    the path after any dot. So ``"recurrent_kernel"`` matches all recurrent kernels,
    ``"0.forward.*"`` the forward direction of the first layer, and, in a model, ``"embedding.*"``
    the layer of that name. No pattern matches the moving statistics of a ``BatchNormalization``,
    which are constants.

    Args:
        tree: a pytree of weights.
        patterns: one or more, with the wildcards ``*``, ``?`` and ``[...]`` of file names. A ``*``
            also matches dots.

    Returns:
        Booleans in the structure of the tree, as in ``optax.masked``.

    Raises:
        ValueError: a pattern matches nothing, or there is none. The message lists the paths.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import trainable_mask
    >>> trainable_mask(jaxgru.init(jax.random.key(0), 3, 5), "*kernel").bias
    False

    Source: Python's ``fnmatch`` for the patterns.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    paths = leaf_paths(tree)
    constant = jax.tree.leaves(statistics(tree))
    known = [path for path, is_constant in zip(paths, constant, strict=True) if not is_constant]
    for pattern in patterns:
        if not any(_matches(pattern, path) for path in known):
            raise ValueError(
                f"the pattern {pattern!r} matches no weight: expected a pattern that matches some "
                f"of {', '.join(known)}"
            )
    if not patterns:
        raise ValueError(
            f"no pattern is given: expected one that matches some of {', '.join(known)}"
        )
    chosen = [
        not is_constant and any(_matches(pattern, path) for pattern in patterns)
        for path, is_constant in zip(paths, constant, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(tree), chosen)


def partition(tree: Any, mask: Any) -> tuple[Any, Any]:
    """Split a tree into the chosen weights and the others, each with None for the other weights.

    None is not a leaf of a pytree, so it has no gradient and no optimizer state.

    Args:
        tree: a pytree of weights.
        mask: booleans in its structure, as ``trainable_mask`` returns them.
    """
    leaves, structure = jax.tree.flatten(tree)
    chosen = jax.tree.leaves(mask)
    pairs = list(zip(leaves, chosen, strict=True))
    return (
        jax.tree.unflatten(structure, [leaf if is_chosen else None for leaf, is_chosen in pairs]),
        jax.tree.unflatten(structure, [None if is_chosen else leaf for leaf, is_chosen in pairs]),
    )


def combine(chosen: Any, others: Any) -> Any:
    """Return the tree that ``partition`` split."""
    return jax.tree.map(
        lambda one, other: other if one is None else one,
        chosen,
        others,
        is_leaf=lambda leaf: leaf is None,
    )


def _matches(pattern: str, path: str) -> bool:
    names = path.split(".")
    tails = (".".join(names[start:]) for start in range(len(names)))
    return any(fnmatch.fnmatchcase(tail, pattern) for tail in tails)
