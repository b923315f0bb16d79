"""Comparison of two functions by their values, gradients and second derivatives."""

import functools

import cases
import chex
import jax
import numpy as np


def assert_equal_to_second_order(key, found, expected, arguments):
    """Assert it of two functions of a structure of float64 arrays that return one.

    ``expected`` is compiled once for all cases of the same shapes: it is to be the same object each
    time, and to depend on nothing but its argument. The gradient is that of a sum of all outputs,
    each with a random weight; the second derivative is along a random direction in all arguments
    at once. Both tell any two apart.
    """
    rng = np.random.default_rng(jax.random.key_data(key).tolist())
    direction = _random_like(rng, arguments)
    weights = _random_like(rng, jax.eval_shape(expected, arguments))

    case = arguments, direction, weights
    # Double precision: the same sums, of some hundred terms near 1, in another order.
    chex.assert_trees_all_close(
        _to_second_order(found)(*case), _of_expected(expected)(*case), rtol=1e-10, atol=1e-10
    )


def _to_second_order(function):
    def derivatives(arguments, direction, weights):
        def loss(arguments):
            outputs = function(arguments)
            products = jax.tree.map(lambda w, o: (w * o).sum(), weights, outputs)
            return sum(jax.tree.leaves(products)), outputs

        return jax.jvp(jax.grad(loss, has_aux=True), (arguments,), (direction,))

    return jax.jit(derivatives, compiler_options=cases.QUICKLY)


_of_expected = functools.cache(_to_second_order)


def _random_like(rng, tree):
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), tree)
