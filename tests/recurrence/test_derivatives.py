"""What JAX's transformations get at, beyond the derivatives of test_matrix.py.

The oracle is autograd's derivatives of a plain loop over the NumPy oracle's equations, and, for
both, central differences of the NumPy oracle itself.
"""

import functools
import math

import autograd
import autograd.numpy as anp
import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from plain_loop import derivatives, plain_loop
from plain_scan import plain_scan

import jaxgru

_PLACEMENTS = pytest.mark.parametrize("reset_after", [True, False])
# test_matrix.py has the derivatives of either placement: how they are asked for is the same code.
_SECOND_IS_SLOW = pytest.mark.parametrize(
    "reset_after", [True, pytest.param(False, marks=pytest.mark.slow)]
)

# Two sequences of three steps, two inputs and three units.
_SHAPES = {
    "kernel": (2, 9),
    "recurrent_kernel": (3, 9),
    "bias": (9,),
    "recurrent_bias": (9,),
    "xs": (2, 3, 2),
    "h0": (2, 3),
}

# Double precision: the same sums, of some hundred terms near 1, in another order, through a
# second derivative at most.
_CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@_SECOND_IS_SLOW
def test_every_transformation_mapped_over_points(x64, reset_after):
    def transformed(function, at, along):
        def loss(at):
            return (function(at) ** 2).sum() / 2

        def slope(at):
            return jax.grad(loss)(at) @ along

        value, pushforward = jax.linearize(function, at)
        _, pullback = jax.vjp(function, at)
        keep_products = jax.checkpoint_policies.dots_saveable
        kept = jax.checkpoint(function, policy=keep_products)
        return {
            "value": value,
            "jacobian": (jax.jacfwd(function)(at), jax.jacrev(function)(at)),
            "along": (pushforward(along), jax.jvp(function, (at,), (along,))[1]),
            "gradient": (
                *pullback(value),
                jax.grad(loss)(at),
                jax.grad(lambda at: (jax.checkpoint(function)(at) ** 2).sum() / 2)(at),
            ),
            "hessian": jax.hessian(loss)(at),
            "second": (
                jax.jvp(jax.grad(loss), (at,), (along,))[1],
                jax.grad(slope)(at),
                jax.grad(lambda at: jax.grad(lambda at: (kept(at) ** 2).sum() / 2)(at) @ along)(at),
            ),
        }

    def expected(function, at, along):
        def loss(at):
            return (function(at) ** 2).sum() / 2

        value, jacobian = function(at), autograd.jacobian(function)(at)
        hessian = autograd.hessian(loss)(at)
        return {
            "value": value,
            "jacobian": (jacobian,) * 2,
            "along": (jacobian @ along,) * 2,
            "gradient": (value @ jacobian,) * 3,
            "hessian": hessian,
            "second": (hessian @ along,) * 3,
        }

    points, directions = _points(reset_after)
    run = functools.partial(transformed, _outputs(jaxgru.gru, jnp, reset_after))
    found = jax.jit(jax.vmap(run))(points, directions)
    plain = functools.partial(expected, _outputs(plain_loop, anp, reset_after))
    for i, both in enumerate(zip(points, directions, strict=True)):
        at_point = jax.tree.map(lambda leaf, i=i: leaf[i], found)
        chex.assert_trees_all_close(at_point, plain(*both), **_CLOSE)


@_SECOND_IS_SLOW
def test_derivatives_to_one_argument_alone(x64, reset_after):
    # All other tangents are then known to be zero, and left out of the computation.
    (point, _), (direction, _) = _points(reset_after)
    arguments, along = _split(point), _split(direction)
    weights = np.random.default_rng(0).standard_normal(2 * 3 * 3 + 2 * 3)

    def outputs(layer, xp, part):
        return _flat_outputs(layer, xp, reset_after, arguments | part)

    @jax.jit
    def found(part, direction):
        function = functools.partial(outputs, jaxgru.gru, jnp)
        _, tangents = jax.jvp(function, (part,), (direction,))
        gradient = jax.grad(lambda part: function(part) @ weights)(part)
        return {"gradient": gradient, "tangents": tangents}

    for name in _SHAPES:
        part, direction = {name: arguments[name]}, {name: along[name]}
        plain = functools.partial(outputs, plain_loop, anp)
        expected = derivatives(plain, part, direction, weights)
        del expected["second"]
        chex.assert_trees_all_close(found(part, direction), expected, **_CLOSE)


def test_gradient_equals_differences_of_oracle(key, x64):
    case = _case(key, reset_after=True)
    weights = _weights_of_a_loss(key)

    def loss(params, xs, h0):
        return _weighted_loss(jaxgru.gru(params, xs, h0, reverse=True), weights)

    found = jax.tree.leaves(jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*case))
    leaves, structure = jax.tree.flatten(jax.tree.map(np.array, case))
    weights_np = [np.asarray(weight) for weight in weights]

    def oracle_loss():
        outputs = oracle.gru_batch(*jax.tree.unflatten(structure, leaves), reverse=True)
        return _weighted_loss(outputs, weights_np)

    step = 1e-6
    for leaf, gradient in zip(leaves, found, strict=True):
        expected = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            value = leaf[index]
            leaf[index] = value + step
            above = oracle_loss()
            leaf[index] = value - step
            expected[index] = (above - oracle_loss()) / (2 * step)
            leaf[index] = value
        # step**2 times a third derivative, and roundings of 1e-16 of the loss over the step.
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


@_PLACEMENTS
def test_float32_gradient_is_as_good_as_that_of_a_plain_loop(key, x64, reset_after):
    case = _case(key, jnp.float32, (4, 300, 8), 16, reset_after=reset_after)
    weights = _weights_of_a_loss(key, jnp.float32, (4, 300), 16)

    def gradient(layer, case, weights):
        def loss(*case):
            return _weighted_loss(layer(*case), weights)

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*case)

    def relative_error(found, exact):
        return float(jnp.linalg.norm(_float64(found) - exact) / jnp.linalg.norm(exact))

    exact = gradient(plain_scan, *_float64((case, weights)))
    error, plain_error = (
        jax.tree.map(relative_error, gradient(layer, case, weights), exact)
        for layer in (jaxgru.gru, plain_scan)
    )
    # Both errors are sums of many roundings, to either side, some 3e-7 of the gradient: seen over
    # other draws, the quotient is from 0.24 to 1.22. Beyond 2 it were no longer by chance.
    assert max(jax.tree.leaves(plain_error)) < 1e-6
    chex.assert_trees_all_equal_comparator(
        lambda a, b: a < 2 * b, lambda a, b: f"{a} against {b}", error, plain_error
    )


def _case(key, dtype=jnp.float64, shape=(2, 3, 2), units=3, **variant):
    params = cases.random_params(key, shape[-1], units, dtype=dtype, **variant)
    xs = cases.random_inputs(jax.random.fold_in(key, 1), shape, dtype)
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (shape[0], units), dtype)
    return params, xs, h0


def _weights_of_a_loss(key, dtype=jnp.float64, steps=(2, 3), units=3):
    """Return a random weight for each number of ys and h."""
    ys = cases.random_inputs(jax.random.fold_in(key, 3), (*steps, units), dtype)
    return ys, cases.random_inputs(jax.random.fold_in(key, 4), (steps[0], units), dtype)


def _float64(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), tree)


def _weighted_loss(outputs, weights):
    """Return the sum of all outputs, each with a weight: a plain sum would hide swapped steps."""
    return sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))


def _points(reset_after):
    """Return two points, all arguments of the layer in one vector, and a direction at each."""
    size = sum(map(math.prod, _SHAPES.values()))
    at, along = np.random.default_rng(int(reset_after)).standard_normal((2, 2, size))
    return at / 2, along


def _outputs(layer, xp, reset_after):
    return lambda at: _flat_outputs(layer, xp, reset_after, _split(at))


def _flat_outputs(layer, xp, reset_after, arguments):
    *weights, xs, h0 = arguments.values()
    ys, h = layer(jaxgru.GRUParams(*weights, reset_after=reset_after), xs, h0)
    return xp.concatenate([ys.ravel(), h.ravel()])


def _split(vector):
    """Return the arguments of the layer, by name, from one vector of them all."""
    named, start = {}, 0
    for name, shape in _SHAPES.items():
        stop = start + math.prod(shape)
        named[name], start = vector[start:stop].reshape(shape), stop
    return named
