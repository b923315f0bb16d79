"""Every transformation of JAX that differentiates, against plain autodiff of a plain loop.

Of a small problem the loop's values, Jacobian and Hessian are computed once; what any
transformation of the layer has to give follows from these three.
"""

import functools
import math
from typing import NamedTuple

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from plain_loop import plain_loop

import jaxgru

# Two sequences of three steps, two inputs and three units.
_SHAPES = {
    "kernel": (2, 9),
    "recurrent_kernel": (3, 9),
    "bias": (9,),
    "recurrent_bias": (9,),
    "xs": (2, 3, 2),
    "h0": (2, 3),
}

_jit = functools.partial(jax.jit, compiler_options=cases.QUICKLY)

_RESETS = pytest.mark.parametrize("reset_after", [True, False])


class Point(NamedTuple):
    """Where to differentiate, and in which direction: all arguments of the layer in one vector."""

    at: jax.Array
    along: jax.Array


class Expected(NamedTuple):
    """The outputs in one vector, their Jacobian, and the Hessian of half their sum of squares."""

    value: jax.Array
    jacobian: jax.Array
    hessian: jax.Array

    @property
    def loss(self):
        return (self.value**2).sum() / 2

    @property
    def gradient(self):
        return self.value @ self.jacobian


def _grad(f, point):
    return jax.grad(_loss_of(f))(point.at)


def _value_and_grad(f, point):
    return jax.value_and_grad(_loss_of(f))(point.at)


def _jvp(f, point):
    return jax.jvp(f, (point.at,), (point.along,))


def _vjp(f, point):
    value, pullback = jax.vjp(f, point.at)
    return value, *pullback(value)


def _linearize(f, point):
    value, pushforward = jax.linearize(f, point.at)
    return value, pushforward(point.along)


def _jacfwd(f, point):
    return jax.jacfwd(f)(point.at)


def _jacrev(f, point):
    return jax.jacrev(f)(point.at)


def _hessian(f, point):
    return jax.hessian(_loss_of(f))(point.at)


def _forward_over_reverse(f, point):
    return jax.jvp(jax.grad(_loss_of(f)), (point.at,), (point.along,))


def _reverse_over_reverse(f, point):
    return jax.grad(lambda at: jax.grad(_loss_of(f))(at) @ point.along)(point.at)


def _grad_of_checkpoint(f, point):
    return _grad(jax.checkpoint(f), point)


def _second_derivative_of_checkpoint(f, point):
    keep_products = jax.checkpoint_policies.dots_saveable
    return _reverse_over_reverse(jax.checkpoint(f, policy=keep_products), point)


def _loss_of(f):
    return lambda at: (f(at) ** 2).sum() / 2


# Each with what it has to give, by what is expected and the direction.
_TRANSFORMATIONS = [
    (_grad, lambda e, along: e.gradient),
    (_value_and_grad, lambda e, along: (e.loss, e.gradient)),
    (_jvp, lambda e, along: (e.value, e.jacobian @ along)),
    (_vjp, lambda e, along: (e.value, e.gradient)),
    (_linearize, lambda e, along: (e.value, e.jacobian @ along)),
    (_jacfwd, lambda e, along: e.jacobian),
    (_jacrev, lambda e, along: e.jacobian),
    (_hessian, lambda e, along: e.hessian),
    (_forward_over_reverse, lambda e, along: (e.gradient, e.hessian @ along)),
    (_reverse_over_reverse, lambda e, along: e.hessian @ along),
    (_grad_of_checkpoint, lambda e, along: e.gradient),
    (_second_derivative_of_checkpoint, lambda e, along: e.hessian @ along),
]
_EACH = pytest.mark.parametrize(
    ("transformation", "of_expected"),
    _TRANSFORMATIONS,
    ids=[t.__name__ for t, _ in _TRANSFORMATIONS],
)


@_RESETS
@_EACH
def test_transformation(x64, transformation, of_expected, reset_after):
    outputs, points, expected = _problem(reset_after)
    point = _row(points, 0)
    found = _jit(functools.partial(transformation, outputs))(point)
    _assert_close(found, of_expected(_row(expected, 0), point.along))


@_RESETS
@_EACH
def test_transformation_mapped_over_points(x64, transformation, of_expected, reset_after):
    outputs, points, expected = _problem(reset_after)
    found = _jit(jax.vmap(functools.partial(transformation, outputs)))(points)
    for i, along in enumerate(points.along):
        _assert_close(_row(found, i), of_expected(_row(expected, i), along))


@_RESETS
@pytest.mark.parametrize("argument", _SHAPES)
def test_derivatives_to_one_argument_alone(x64, argument, reset_after):
    # All other tangents are then known to be zero, and left out of the computation.
    _, points, expected = _problem(reset_after)
    point, expected = _row(points, 0), _row(expected, 0)
    chosen = np.asarray(_split(np.arange(len(point.at)))[argument]).ravel()

    def of_argument(part):
        arguments = _split(point.at)
        arguments[argument] = part.reshape(_SHAPES[argument])
        return _flat_outputs(jaxgru.gru, reset_after, arguments)

    def both_modes(part, along):
        _, tangent = jax.jvp(of_argument, (part,), (along,))
        return tangent, jax.grad(_loss_of(of_argument))(part)

    found = _jit(both_modes)(point.at[chosen], point.along[chosen])
    tangent = expected.jacobian[:, chosen] @ point.along[chosen]
    _assert_close(found, (tangent, expected.gradient[chosen]))


@functools.cache
def _problem(reset_after):
    """Return the layer's outputs as a function of one vector, two points, and what to expect."""

    def outputs_of(layer):
        return lambda at: _flat_outputs(layer, reset_after, _split(at))

    size = sum(map(math.prod, _SHAPES.values()))
    at, along = jax.random.normal(jax.random.key(int(reset_after)), (2, 2, size), jnp.float64)
    points = Point(at / 2, along)
    plain = outputs_of(plain_loop)

    def expected(point):
        hessian = jax.jacfwd(jax.jacrev(_loss_of(plain)))(point.at)
        return Expected(plain(point.at), jax.jacfwd(plain)(point.at), hessian)

    return outputs_of(jaxgru.gru), points, _jit(lambda points: lax.map(expected, points))(points)


def _flat_outputs(layer, reset_after, arguments):
    weights, (xs, h0) = list(arguments.values())[:4], list(arguments.values())[4:]
    ys, h = layer(jaxgru.GRUParams(*weights, reset_after=reset_after), xs, h0)
    return jnp.concatenate([ys.ravel(), h.ravel()])


def _split(vector):
    """Return the arguments of the layer, by name, from one vector of them all."""
    sizes = [math.prod(shape) for shape in _SHAPES.values()]
    parts = jnp.split(vector, np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape)
        for (name, shape), part in zip(_SHAPES.items(), parts, strict=True)
    }


def _row(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _assert_close(found, expected):
    # Double precision: the same sums, of some hundred terms near 1, in another order, through a
    # second derivative at most.
    chex.assert_trees_all_close(found, expected, rtol=1e-10, atol=1e-10)
