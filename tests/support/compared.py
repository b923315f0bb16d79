"""A library's module and the one of jaxgru in its place, compared."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle

# Two orders of adding in float32, over some ten steps, of states below 1.
ROUNDING = 2e-6
# Of the largest number of an array: what the drop-in modules promise.
GRADIENT = 1e-5


def assert_alike(found, expected, atol=ROUNDING):
    """Fail unless two trees have one structure, shapes and types, and nearly equal numbers."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(_float64(one), _float64(other), rtol=0, atol=atol)


def assert_same_gradients(found, expected):
    """Fail unless two trees of gradients agree, relative to the largest number of each array."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        scale = float(jnp.abs(other).max())
        assert scale > 0
        np.testing.assert_allclose(one, other, rtol=0, atol=GRADIENT * scale)


def assert_no_worse(found, expected, params, xs):
    """Fail unless outputs ``(..., T, H)`` are as near to float64 as another's, in its type."""
    assert found.dtype == expected.dtype
    exact, _ = oracle.gru_batch(params, xs)
    errors = [np.abs(_float64(ys) - exact).max() for ys in (found, expected)]
    assert errors[0] <= errors[1]
    assert errors[0] < 0.01  # of numbers below 1 with eight bits, rounded once


def weighted(tree):
    """Return a loss of outputs in which every number has a weight of its own."""
    return sum(
        (leaf * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape)).sum()
        for leaf in jax.tree.leaves(tree)
    )


def _float64(array):
    return np.asarray(array).astype(np.float64)
