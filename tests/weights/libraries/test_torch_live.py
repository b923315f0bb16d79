"""Against torch.nn.GRU itself, in double precision, the weights brought over by hand."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.live

# Sums of about ten terms near 1, in double precision on both sides.
_TOLERANCE = {"rtol": 1e-12, "atol": 1e-13}


@pytest.mark.parametrize("has_bias", [True, False])
def test_layer(key, x64, has_bias):
    layer, params = _layers(key, has_bias)
    xs = np.array(cases.random_inputs(jax.random.fold_in(key, 1), (2, 5, 3), jnp.float64))
    h0 = np.array(cases.random_inputs(jax.random.fold_in(key, 2), (2, 4), jnp.float64))

    with torch.no_grad():
        expected_ys, expected_h = layer(torch.from_numpy(xs), torch.from_numpy(h0)[None])
    ys, h = jaxgru.gru(params, xs, h0)

    np.testing.assert_allclose(ys, expected_ys.numpy(), **_TOLERANCE)
    np.testing.assert_allclose(h, expected_h[0].numpy(), **_TOLERANCE)


def test_gradient(key, x64):
    layer, params = _layers(key, has_bias=True)
    xs = np.array(cases.random_inputs(jax.random.fold_in(key, 1), (2, 5, 3), jnp.float64))
    weights = np.array(cases.random_inputs(jax.random.fold_in(key, 2), (2, 5, 4), jnp.float64))

    (layer(torch.from_numpy(xs))[0] * torch.from_numpy(weights)).sum().backward()
    found = jax.grad(lambda params: (jaxgru.gru(params, xs)[0] * weights).sum())(params)

    fields = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    for field, weight in zip(fields, layer.parameters(), strict=True):
        expected = _to_keras_order(weight.grad.numpy())
        np.testing.assert_allclose(getattr(found, field), expected, err_msg=field, **_TOLERANCE)


def _layers(key, has_bias):
    """Return a PyTorch layer with random weights, and the same weights as GRUParams."""
    layer = torch.nn.GRU(3, 4, bias=has_bias, batch_first=True, dtype=torch.float64)
    arrays = []
    for i, weight in enumerate(layer.parameters()):
        values = 0.5 * np.array(jax.random.normal(jax.random.fold_in(key, 10 + i), weight.shape))
        with torch.no_grad():
            weight.copy_(torch.from_numpy(values))
        arrays.append(jnp.asarray(_to_keras_order(values)))
    return layer, jaxgru.GRUParams(*arrays)


def _to_keras_order(weight):
    """PyTorch holds rows r, z, n; Keras holds columns z, r, h."""
    reset, update, candidate = np.split(weight, 3)
    return np.concatenate([update, reset, candidate]).T
