"""Each activation, by name or with parameters: its value, and its slope as gradients see it."""

import functools
import pickle
import typing

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru
from jaxgru._functions import ActivationName

# Both sides of every kink (0, +-1, 6, +-2.5, +-3) and far out, but on none: a slope there is
# a convention.
_POINTS = np.array([-20.0, -6.1, -3.1, -2.9, -2.4, -1.1, -0.9, -0.1, 0.1, 0.9, 1.1, 2.9, 5.9, 6.1])


# Of either sign where the derivative depends on it, none of them the function of a name.
_PARAMETRIZED = [
    jaxgru.Activation("leaky_relu", 0.5),
    jaxgru.Activation("leaky_relu", alpha=-0.25),
    jaxgru.Activation("elu", 1.75),
    jaxgru.Activation("elu", -0.5),
    jaxgru.Activation("hard_sigmoid", 0.25, 0.375),
    jaxgru.Activation("hard_sigmoid", -0.25, 0.375),
    jaxgru.Activation("thresholded_relu", 1.0),
    jaxgru.Activation("thresholded_relu", -1.0),
    jaxgru.Activation("scaled_tanh", 1.5, 0.75),
    jaxgru.Activation("scaled_tanh", 0.0, 1.0),
    jaxgru.Activation("affine", -0.5, 0.25),
]


def test_names_of_the_oracle_and_of_checkers():
    assert set(jaxgru.ACTIVATIONS) == set(oracle.ACTIVATIONS)
    assert set(jaxgru.ACTIVATIONS) == set(typing.get_args(ActivationName))


@pytest.mark.parametrize("name", [*jaxgru.ACTIVATIONS, *_PARAMETRIZED], ids=str)
def test_value_and_slope(name, x64):
    f, step = oracle.activation(name), 1e-5
    # Everything in the formula is a few roundings of numbers up to e**6.
    np.testing.assert_allclose(_candidate(name, _POINTS), f(_POINTS), rtol=1e-13, atol=1e-15)
    # The candidate enters the state with weight 1 - z = 1/2.
    expected = (f(_POINTS + step) - f(_POINTS - step)) / (2 * step) / 2
    # Central differences: step**2 times the third derivative (up to e**6), and roundings / step.
    np.testing.assert_allclose(_slopes(name, _POINTS), expected, rtol=1e-9, atol=1e-9)
    # Float32's exp overflows at 89: formulas that divide infinities show here.
    assert np.isfinite(_slopes(name, np.float32([-80, 0, 80]))).all()


_SAME = {
    "tanh": [jaxgru.Activation("scaled_tanh", 1, 1)],
    "leaky_relu": [
        jaxgru.Activation("leaky_relu"),
        jaxgru.Activation("leaky_relu", np.float64(0.2)),
    ],
    "relu": [jaxgru.Activation("leaky_relu", 0.0), jaxgru.Activation("thresholded_relu", 0)],
    "hard_sigmoid": [jaxgru.Activation("hard_sigmoid", beta=0.5)],
    "hard_sigmoid_keras2": [jaxgru.Activation("hard_sigmoid", 0.2)],
    "linear": [jaxgru.Activation("affine", 1, 0), jaxgru.Activation("leaky_relu", 1)],
}


@pytest.mark.parametrize("name", _SAME)
def test_the_function_of_a_name_becomes_the_name(name):
    kernel = np.ones((1, 3))
    f = oracle.activation(name)
    for same in _SAME[name]:
        params = jaxgru.GRUParams(kernel, kernel, activation=same, recurrent_activation=same)
        assert (params.activation, params.recurrent_activation) == (name, name)
        # x / 6 and 1/6 times x differ by roundings, of numbers up to 1.
        np.testing.assert_allclose(oracle.activation(same)(_POINTS), f(_POINTS), rtol=0, atol=1e-15)


def test_without_parameters_it_is_the_name():
    assert _unit(jaxgru.Activation("gelu"), np.float32).activation == "gelu"


@pytest.mark.parametrize("activation", _PARAMETRIZED, ids=str)
def test_kept_by_pickles_and_programs(activation):
    params = _unit(activation, np.float32)
    assert pickle.loads(pickle.dumps(params)).activation == activation
    assert hash(pickle.loads(pickle.dumps(activation))) == hash(activation)
    exported = jax.export.export(jax.jit(lambda params: params))(params)
    exported = jax.export.deserialize(exported.serialize())
    assert exported.call(params).activation == activation


_REFUSED = {
    "unknown": (lambda: jaxgru.Activation("tnh"), "name 'tnh' is unknown: expected one of tanh"),
    "no parameter": (lambda: jaxgru.Activation("tanh", 1), "alpha is 1: expected None, as tanh"),
    "one parameter": (lambda: jaxgru.Activation("elu", 1, 1), "beta is 1: expected None, as elu"),
    "missing": (lambda: jaxgru.Activation("affine", 1), "beta of affine is None: expected a"),
    "text": (lambda: jaxgru.Activation("elu", "1"), "alpha of elu is '1': expected a finite"),
    "flag": (lambda: jaxgru.Activation("elu", True), "alpha of elu is True: expected a finite"),
    "infinite": (lambda: jaxgru.Activation("elu", np.inf), "alpha of elu is inf: expected a"),
}


@pytest.mark.parametrize("case", _REFUSED)
def test_refused(case):
    make, message = _REFUSED[case]
    with pytest.raises(ValueError, match=message):
        make()


def _unit(name, dtype):
    """One unit whose candidate is the activation of its input, and whose gates are 1/2."""
    kernel = jnp.asarray([[0.0, 0.0, 1.0]], dtype)
    return jaxgru.GRUParams(kernel, jnp.zeros_like(kernel), activation=name)


def _candidate(name, points):
    x = jnp.asarray(points)[:, None]
    return jaxgru.gru_gates(_unit(name, x.dtype), jnp.zeros_like(x), x).candidate[:, 0]


@functools.partial(jax.jit, static_argnums=0)
def _slopes(name, points):
    def last_state(x):
        return jaxgru.gru(_unit(name, x.dtype), x[None, None])[1][0]

    return jax.vmap(jax.grad(last_state))(points)
