"""Bad arguments: one line that names what was given, what was expected, and where."""

import dataclasses
import re

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxgru


def _weights(key, **fields):
    return dataclasses.replace(cases.random_params(key, 3, 4), **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"recurrent_kernel": jnp.ones((4, 9))},
            "recurrent_kernel has shape (4, 9): expected (H, 3H)",
        ),
        ({"recurrent_kernel": jnp.ones(12)}, "recurrent_kernel has shape (12,): expected (H, 3H)"),
        (
            {"kernel": jnp.ones((3, 9))},
            "kernel has shape (3, 9): expected (I, 12), as recurrent_kernel has 4 units",
        ),
        (
            {"kernel": jnp.ones((2, 3, 12))},
            "kernel has shape (2, 3, 12): expected (I, 12), as recurrent_kernel has 4 units",
        ),
        ({"bias": jnp.ones(4)}, "bias has shape (4,): expected (12,) or None"),
        ({"bias": jnp.ones((2, 12))}, "bias has shape (2, 12): expected (12,) or None"),
        (
            {"recurrent_bias": jnp.ones((1, 12))},
            "recurrent_bias has shape (1, 12): expected (12,) or None",
        ),
        (
            {"kernel": jnp.ones((3, 12), int)},
            "kernel has dtype int32: expected a floating-point type",
        ),
        (
            {"bias": jnp.ones(12, complex)},
            "bias has dtype complex64: expected a floating-point type",
        ),
        ({"kernel": None}, "kernel is a NoneType: expected a JAX or NumPy array"),
        (
            {"bias": [1.0] * 12},
            "bias is a list: expected a JAX or NumPy array; np.asarray(bias) makes one",
        ),
    ],
)
def test_weights_that_do_not_fit(key, fields, message):
    params = _weights(key, **fields)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(params, jnp.ones((5, 3)))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru_cell(params, jnp.ones(4), jnp.ones(3))


def test_params_of_another_type(key):
    weights = {"kernel": jnp.ones((3, 12)), "recurrent_kernel": jnp.ones((4, 12))}
    with pytest.raises(ValueError, match=r"^net is a dict: expected a GRUParams, a Bidirectional"):
        jaxgru.gru(weights, jnp.ones((5, 3)))


@pytest.mark.parametrize(
    ("xs", "h0", "message"),
    [
        (jnp.ones((5, 2)), None, "xs has shape (5, 2): expected (..., 3), for 3 inputs"),
        (jnp.ones(()), None, "xs has shape (): expected (..., 3), for 3 inputs"),
        (jnp.ones(3), None, "xs has shape (3,): expected (..., T, I), a sequence of inputs"),
        (jnp.ones((5, 3), int), None, "xs has dtype int32: expected a floating-point type"),
        (jnp.ones((5, 3), complex), None, "xs has dtype complex64: expected a floating-point type"),
        (
            [[1.0, 2.0, 3.0]],
            None,
            "xs is a list: expected a JAX or NumPy array; np.asarray(xs) makes one",
        ),
        (None, None, "xs is a NoneType: expected a JAX or NumPy array"),
        (jnp.ones((5, 3)), jnp.ones(3), "h0 has shape (3,): expected (..., 4), for 4 units"),
        (
            jnp.ones((2, 5, 3)),
            jnp.ones((3, 4)),
            "h0 has shape (3, 4): expected (2, 4), as xs has it",
        ),
        (jnp.ones((5, 3)), jnp.ones((1, 4)), "h0 has shape (1, 4): expected (4,), as xs has it"),
        (jnp.ones((5, 3)), jnp.ones(4, int), "h0 has dtype int32: expected a floating-point type"),
        (
            jnp.ones((5, 3)),
            [0.0] * 4,
            "h0 is a list: expected a JAX or NumPy array; np.asarray(h0) makes one",
        ),
    ],
)
def test_sequences_that_do_not_fit(key, xs, h0, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(_weights(key), xs, h0)


def test_a_single_step_in_time_major_names_that_layout(key):
    message = "xs has shape (3,): expected (T, ..., I), a sequence of inputs"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(_weights(key), jnp.ones(3), time_major=True)


@pytest.mark.parametrize(
    ("h", "x", "message"),
    [
        (jnp.ones(4), jnp.ones(4), "x has shape (4,): expected (..., 3), for 3 inputs"),
        (jnp.ones(3), jnp.ones(3), "h has shape (3,): expected (..., 4), for 4 units"),
        (jnp.ones(4), jnp.ones(3, int), "x has dtype int32: expected a floating-point type"),
        (jnp.ones(4, bool), jnp.ones(3), "h has dtype bool: expected a floating-point type"),
        (jnp.ones(4), 1.0, "x is a float: expected a JAX or NumPy array; np.asarray(x) makes one"),
        (
            jnp.ones((2, 4)),
            jnp.ones((5, 3)),
            "h has shape (2, 4) and x (5, 3): expected leading axes that broadcast together",
        ),
    ],
)
@pytest.mark.parametrize("function", [jaxgru.gru_cell, jaxgru.gru_gates])
def test_steps_that_do_not_fit(key, function, h, x, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(_weights(key), h, x)


@pytest.mark.parametrize("remat", [0, -3, 6, True, 2.0, "all", "", ("states",), np.arange(3)])
@pytest.mark.parametrize("time_major", [False, True])
def test_remat_that_is_no_number_of_steps(key, remat, time_major):
    xs = jnp.ones((5, 2, 3) if time_major else (2, 5, 3))
    message = f"remat is {remat!r}: expected None, 'states', or an integer from 1 to 5, for 5 steps"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(_weights(key), xs, time_major=time_major, remat=remat)


@pytest.mark.parametrize("remat", [None, "states", 1, 5, np.int64(5)])
def test_remat_that_is_one(key, remat):
    def outputs(xs):
        return jaxgru.gru(_weights(key), xs, remat=remat)

    assert jax.eval_shape(outputs, jnp.ones((5, 3)))[0].shape == (5, 4)


def test_remat_without_steps(key):
    xs = jnp.ones((0, 3))
    assert jaxgru.gru(_weights(key), xs, remat=1)[0].shape == (0, 4)
    message = "remat is 2: expected None, 'states', or an integer from 1 to 1, for 0 steps"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(_weights(key), xs, remat=2)


_WITH_PRECISION = pytest.mark.parametrize(
    "function",
    [
        lambda params, precision: jaxgru.gru(params, jnp.ones((5, 3)), precision=precision)[1],
        lambda params, precision: jaxgru.gru_cell(
            params, jnp.ones(4), jnp.ones(3), precision=precision
        ),
        lambda params, precision: (
            jaxgru.gru_gates(params, jnp.ones(4), jnp.ones(3), precision=precision).h
        ),
    ],
    ids=["gru", "gru_cell", "gru_gates"],
)


@_WITH_PRECISION
@pytest.mark.parametrize(
    "precision",
    ["exact", "HIGHEST", 2, True, jnp.float32, ("high",), ["high", "high"], ("high", "exact")],
)
def test_unknown_precision(key, function, precision):
    message = (
        f"precision is {precision!r}: expected None, 'default', 'high', 'highest' or another name "
        "known to JAX, a jax.lax.Precision, a tuple of two names or of two of these, a "
        "jax.lax.DotAlgorithm or a jax.lax.DotAlgorithmPreset"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(_weights(key), precision)


@_WITH_PRECISION
@pytest.mark.parametrize(
    "precision",
    [
        None,
        "highest",
        "tensorfloat32",
        "F32_F32_F32",
        lax.Precision.HIGH,
        ("default", "highest"),
        (lax.Precision.HIGH, lax.Precision.DEFAULT),
        lax.DotAlgorithmPreset.BF16_BF16_F32_X3,
        lax.DotAlgorithm(jnp.float32, jnp.float32, jnp.float32),
    ],
    ids=str,
)
def test_precision_that_jax_knows(key, function, precision):
    h = jax.eval_shape(lambda params: function(params, precision), _weights(key))
    assert (h.shape, h.dtype) == ((4,), jnp.float32)
