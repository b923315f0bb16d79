"""What is asked of a net that came back: the same structure, types and bits."""

import jax
import numpy as np


def same(one, other):
    """Return whether two nets, or trees of arrays, are bit-for-bit identical in every field."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(_parts(a) == _parts(b) for a, b in pairs)


def assert_same(found, expected):
    """Assert that two nets, or trees of arrays, are bit-for-bit identical in every field."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    leaves = jax.tree.leaves(found), jax.tree.leaves(expected)
    for one, other in zip(*leaves, strict=True):
        assert _parts(one) == _parts(other)


def _parts(array):
    return array.dtype, array.shape, np.asarray(array).tobytes()
