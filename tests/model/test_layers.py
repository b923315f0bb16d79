"""The layers of ``jaxgru.model`` against NumPy in double precision, and what training draws.

Tolerance: 1e-5 of values of size 1, as the layers compute in float32.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru
from jaxgru.model import (
    BatchNormalization,
    Conv1D,
    Elementwise,
    Embedding,
    GlobalPooling1D,
    LayerNormalization,
    Masking,
    MaxPooling1D,
    Model,
    Noise,
    Recurrent,
    ReLU,
    Signal,
)

RNG = np.random.default_rng(0)
XS = RNG.normal(size=(2, 7, 4)).astype("f4")


# By name, a layer and what it computes of inputs x in double precision.
A, B, MEAN = RNG.normal(size=(3, 4)).astype("f4")
EQUATIONS = {
    "LayerNormalization": (
        LayerNormalization(A, B, epsilon=0.5),
        lambda x: A * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.5) + B,
    ),
    "BatchNormalization": (
        BatchNormalization(MEAN, A**2, B, epsilon=0.5),
        lambda x: B * (x - MEAN) / np.sqrt(A**2 + 0.5),
    ),
    "ReLU": (
        ReLU(max_value=1.0, negative_slope=0.25, threshold=0.5),
        lambda x: np.where(x >= 0.5, np.minimum(x, 1), 0.25 * (x - 0.5)),
    ),
    "a ReLU without a limit": (ReLU(), lambda x: np.maximum(x, 0)),
    "PReLU": (Elementwise(alpha=A), lambda x: np.where(x > 0, x, A * x)),
    "MaxPooling1D": (
        MaxPooling1D(3, stride=2),
        lambda x: np.stack([x[:, t : t + 3].max(1) for t in (0, 2, 4)], axis=1),
    ),
    "MaxPooling1D, same": (
        MaxPooling1D(2, stride=2, padding="same"),
        lambda x: np.stack([x[:, t : t + 2].max(1) for t in (0, 2, 4, 6)], axis=1),
    ),
    "the mean of all steps": (GlobalPooling1D(), lambda x: x.mean(1)),
    "the largest of all steps": (
        GlobalPooling1D("max", keepdims=True),
        lambda x: x.max(1)[:, None],
    ),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_layer_is_its_equation(name):
    layer, equation = EQUATIONS[name]
    found = layer(Signal(jnp.asarray(XS)), None).x
    np.testing.assert_allclose(found, equation(XS.astype("f8")), rtol=0, atol=1e-5)


def test_a_causal_convolution_sees_no_later_step():
    kernel, bias = RNG.normal(size=(3, 2, 6)).astype("f4"), RNG.normal(size=6).astype("f4")
    layer = Conv1D(kernel, bias, padding="causal", dilation=2, groups=2)
    before = np.concatenate([np.zeros((2, 4, 4)), XS], axis=1)
    taken = np.stack([before[:, 2 * k : 2 * k + 7] for k in range(3)], axis=2)
    halves = [
        np.einsum("btki,kio->bto", taken[..., 2 * g :][..., :2], kernel[..., 3 * g :][..., :3])
        for g in range(2)
    ]
    want = np.concatenate(halves, axis=-1) + bias
    np.testing.assert_allclose(layer(Signal(jnp.asarray(XS)), None).x, want, rtol=0, atol=1e-5)


def test_a_step_is_masked_if_all_of_its_numbers_are_the_mask_value():
    xs = XS.copy()
    xs[0, 3:] = xs[1, 2] = 0.5
    xs[1, 4, :3] = 0.5  # not all of them
    signal = Masking(0.5)(Signal(jnp.asarray(xs)), None)
    valid = np.ones((2, 7), bool)
    valid[0, 3:] = valid[1, 2] = False
    np.testing.assert_array_equal(signal.mask, valid)
    np.testing.assert_array_equal(signal.x, np.where(valid[..., None], xs, 0))
    want = [row[held].astype("f8").mean(0) for row, held in zip(xs, valid, strict=True)]
    np.testing.assert_allclose(GlobalPooling1D()(signal, None).x, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [-1, 9])
def test_integers_outside_of_a_table_are_refused(wrong):
    model, ids = Model(words=Embedding(jnp.ones((9, 4)))), np.array([[1, wrong, 0]])
    with pytest.raises(ValueError, match=f"its input has {wrong}: expected integers from 0 to 8"):
        model(ids)
    rows = jax.jit(model)(ids)[0]
    np.testing.assert_array_equal(np.isnan(rows).all(-1), [False, True, False])


def test_integers_that_a_conversion_would_change_are_refused():
    model, ids = Model(words=Embedding(jnp.ones((9, 4)))), np.array([[1, 2**32 + 1]])
    with pytest.raises(ValueError, match=r"^xs has 4294967297: expected integers of type int32"):
        model(ids)


# Of a million draws, the mean and the standard deviation have an error of 0.002, so 0.01 is never
# exceeded by chance.
MANY = RNG.normal(size=(100, 100, 100)).astype("f4")


@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_alpha_dropout_keeps_mean_and_variance(key, rate):
    ys = np.asarray(Model(noise=Noise("AlphaDropout", rate))(MANY, key=key), np.float64)
    assert abs(ys.mean()) < 0.01
    assert abs(ys.std() - 1) < 0.01


@pytest.mark.parametrize(
    ("kind", "rate", "mean", "deviation"),
    [
        ("Dropout", 0.2, 1, 0.5),  # sqrt(rate / (1 - rate))
        ("SpatialDropout1D", 0.2, 1, 0.5),
        ("GaussianDropout", 0.2, 1, 0.5),
        ("GaussianNoise", 0.2, 1, 0.2),
    ],
)
def test_noise_has_the_mean_and_deviation_of_keras(key, kind, rate, mean, deviation):
    # One draw for all steps, of which there is one.
    ys = Model(noise=Noise(kind, rate))(np.ones((10**4, 1, 100), np.float32), key=key)
    assert abs(ys.mean() - mean) < 0.01
    assert abs(ys.std() - deviation) < 0.01
    if kind == "SpatialDropout1D":
        ys = Model(noise=Noise(kind, rate))(np.ones((5, 6, 100), np.float32), key=key)
        np.testing.assert_array_equal(ys, np.broadcast_to(ys[:, :1], ys.shape))


def test_each_layer_draws_for_itself(key):
    model = Model(one=Noise("Dropout", 0.5), other=Noise("Dropout", 0.5))
    ys = model(np.ones((100, 100, 100), np.float32), key=key)
    assert abs((ys == 4).mean() - 0.25) < 0.01


def test_the_inputs_of_a_gru_have_one_draw_for_all_steps(key):
    """As Keras' ``GRU(dropout=0.5)``: with an open update gate a state is that of its own input."""
    net = jaxgru.init(jax.random.key(0), 8, 6)
    net = dataclasses.replace(
        net, bias=net.bias.at[:6].set(-100), recurrent_kernel=0 * net.recurrent_kernel
    )
    model = Model(gru=Recurrent(net, dropout=0.5))
    ys = np.asarray(model(np.ones((100, 5, 8), np.float32), key=key))
    np.testing.assert_array_equal(ys, np.broadcast_to(ys[:, :1], ys.shape))
    assert len(np.unique(ys[:, 0], axis=0)) > 50  # of the 256 draws of a sequence's inputs
