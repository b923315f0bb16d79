"""Against keras.layers.GRU itself, on Keras' JAX backend: the convention is Keras' own."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru

keras = pytest.importorskip("keras")

# Keras is written for JAX's own promotion.
pytestmark = pytest.mark.usefixtures("default_promotion")

# Keras computes in float32 too, in another order of sums: twice the error of one side.
_TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}

# Keras 1 and 2's hard sigmoid is gone from Keras 3; the oracle stands in for it.
_SHARED = [name for name in jaxgru.ACTIVATIONS if name != "hard_sigmoid_keras2"]


@pytest.mark.parametrize("go_backwards", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("reset_after", [True, False])
def test_layer(key, reset_after, use_bias, go_backwards):
    biases = "no bias" if not use_bias else "both biases" if reset_after else "input bias"
    params = cases.random_params(key, 3, 4, reset_after=reset_after, biases=biases)
    _check(params, key, go_backwards=go_backwards)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("name", _SHARED)
def test_activations_of_the_same_name(key, name, reset_after):
    biases = "both biases" if reset_after else "input bias"
    params = cases.random_params(key, 3, 4, reset_after=reset_after, biases=biases, activation=name)
    _check(params, key)


@pytest.mark.parametrize("name", _SHARED)
def test_recurrent_activations_of_the_same_name(key, name):
    _check(cases.random_params(key, 3, 4, recurrent_activation=name), key)


def _check(params, key, *, go_backwards=False):
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (2, 4, 3))
    h0 = cases.random_inputs(jax.random.fold_in(key, 2), (2, 4))
    layer = keras.layers.GRU(
        params.hidden_size,
        activation=params.activation,
        recurrent_activation=params.recurrent_activation,
        use_bias=params.bias is not None,
        reset_after=params.reset_after,
        go_backwards=go_backwards,
        return_sequences=True,
        return_state=True,
    )
    layer.build(xs.shape)
    weights = [params.kernel, params.recurrent_kernel]
    if params.bias is not None:
        both = params.reset_after
        weights.append(jnp.stack([params.bias, params.recurrent_bias]) if both else params.bias)
    layer.set_weights(weights)

    expected_ys, expected_h = layer(xs, initial_state=h0)
    ys, h = jaxgru.gru(params, xs, h0, reverse=go_backwards)

    # Keras leaves the states of a backward pass in the order of computing.
    expected_ys = np.flip(expected_ys, axis=1) if go_backwards else expected_ys
    np.testing.assert_allclose(ys, expected_ys, **_TOLERANCE)
    np.testing.assert_allclose(h, expected_h, **_TOLERANCE)
